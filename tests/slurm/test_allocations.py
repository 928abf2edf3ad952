"""Several allocations on one run: a job array whose elements claim shards, limits of arrays, the job that collects."""

from __future__ import annotations

import json
import pickle
import stat
from collections import Counter

import pytest
from campaign_workers import SECONDS, TellingWorker, log_of, states, told, wait_for
from click.testing import CliRunner

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.local import run_campaign
from inpaint_hpc.cluster.slurm import submit
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submit import cancel_run, submit_run

pytestmark = pytest.mark.slurm


def _all_ended(run) -> bool:
    return not any(state.living for state in states(run).values())


def test_two_array_elements_do_every_shard_once(slurm, campaign, monkeypatch):
    inline, run = campaign("inline"), campaign("run")
    run_campaign(inline, "inline", device="cpu")
    monkeypatch.setenv(SECONDS, "4")
    settings = load_settings(None, {"allocations": 2, "time": 10, "cpus_per_task": 1})
    (submission,) = submit_run(run, settings, factory=TellingWorker)
    assert submission.jobs == [f"{submission.job}_0", f"{submission.job}_1"]
    wait_for(lambda: _all_ended(run), 200, "the array ends", run)
    assert {state.state for state in states(run).values()} == {"COMPLETED"}, log_of(run)

    records = told(run.path)
    assert sorted(record["unit"] for record in records) == [str(unit) for unit in run.result_units()]
    assert len(records) == 6 and run.pending_units() == []
    assert {record["job"] for record in records} == set(submission.jobs)
    assert log_of(run).count(f"made {run.archive_path}") == 1
    collect_run(inline)
    same = compare(inline.archive_path, run.archive_path)
    assert same.same_tasks and same.identical == same.samples == 12
    assert list((run.path / "claims").iterdir()) == []

    folder = run.path / "slurm"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folder.rglob("*") if path.is_dir())
    for pattern in ("*/*.pkl", "*/*.sh", "submissions/*.json", "*/*/*.json"):
        files = [path for path in folder.glob(pattern) if not path.is_symlink()]
        assert files and all(
            not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files if "result" not in path.name
        )
    for path in folder.glob("*/*_submitted.pkl"):
        assert path.stat().st_size < 2000
    shown = CliRunner().invoke(cli, ["logs", str(run.path), "--job", f"{submission.job}_1"])
    assert shown.output.count("==>") == 1 and f"{submission.job}_1_0_log.out" in shown.output


def test_arrays_respect_the_limits_of_the_cluster_and_of_the_user(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setattr(submit, "largest_array", lambda clusters: 2)
    slurm.run("scontrol", "update", "partition=main", "state=down")  # nothing starts
    try:
        settings = load_settings(None, {"allocations": 5, "array_parallelism": 2, "time": 10})
        sent = submit_run(run, settings, collect=submit.AFTER)
        assert [submission.elements for submission in sent] == [2, 2, 0, 0]
        assert [submission.kind for submission in sent] == ["run", "run", "run", "collect"]
        queue = slurm.run("squeue", "-h", "-o", "%i %E").splitlines()
        first, second, third, last = (submission.job for submission in sent)
        waits = dict(line.split(" ", 1) for line in queue)
        assert f"{first}_[0-1%2]" in waits and f"afterany:{first}" in waits[f"{second}_[0-1%2]"]
        assert f"afterany:{second}" in waits[third]
        assert all(f"afterany:{job}" in waits[last] for job in (first, second, third))
        assert len(states(run)) == 6 and {state.state for state in states(run).values()} == {"PENDING"}
        assert len(cancel_run(run)) == 6
        wait_for(lambda: _all_ended(run), 30, "all are cancelled", run)
    finally:
        slurm.run("scontrol", "update", "partition=main", "state=up")


def test_resume_submits_what_is_missing_and_collect_waits_for_it(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "2")
    slurm.run("scontrol", "update", "partition=main", "state=down")
    try:
        settings = load_settings(None, {"allocations": 3, "time": 10, "cpus_per_task": 1, "partition": "main"})
        first, after = submit_run(run, settings, collect=submit.AFTER)
        slurm.run("scancel", f"{first.job}_1")
        wait_for(lambda: not states(run)[f"{first.job}_1"].living, 20, "one element is cancelled", run)
        said = CliRunner().invoke(cli, ["resume", str(run.path)])
        assert said.exit_code == 0, said.output
        third, later = [line for line in said.output.splitlines() if line.isdigit()]
        assert "1 allocation of 1 node" in said.output
        again = CliRunner().invoke(cli, ["resume", str(run.path)])
        assert again.exit_code == 0 and "nothing to submit" in again.output
        found = states(run)
        assert Counter(state.state for state in found.values()) == {"PENDING": 4, "CANCELLED": 2}
        assert found[after.job].state == "CANCELLED" and found[third].living and found[later].living
    finally:
        slurm.run("scontrol", "update", "partition=main", "state=up")
    wait_for(lambda: _all_ended(run), 240, "all jobs end", run)
    assert run.pending_units() == [] and run.archive_path.exists(), log_of(run)
    assert states(run)[later].state == "COMPLETED"
    assert "made" not in log_of(run)  # by the dependent job and by no other
    done = CliRunner().invoke(cli, ["resume", str(run.path)])
    assert done.exit_code == 0 and "all tasks are done" in done.output
    shown = json.loads(CliRunner().invoke(cli, ["status", str(run.path), "--json"]).output)
    assert shown["collected"] and {job["job"] for job in shown["jobs"]} == set(states(run))


def test_the_pickle_holds_paths_and_numbers(slurm, campaign):
    run = campaign("run")
    slurm.run("scontrol", "update", "partition=main", "state=down")
    try:
        (submission,) = submit_run(run, load_settings(None, {"time": 10}))
    finally:
        slurm.run("scontrol", "update", "partition=main", "state=up")
    path = run.path / "slurm" / submission.job / f"{submission.job}_submitted.pkl"
    allocation = pickle.loads(path.read_bytes()).function.allocation
    assert all(isinstance(value, str | int | float | None) for value in vars(allocation).values())
    assert allocation.run_path == str(run.path)
