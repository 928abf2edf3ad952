"""Campaigns in allocations of a real SLURM: two nodes, requeue, cancel; what is refused, and how."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from campaign_workers import SECONDS, TellingWorker, log_of, state_of, states, told, wait_for
from click.testing import CliRunner
from dev_cluster import wait_until

from inpaint_hpc._version import __version__
from inpaint_hpc.archive.compare import compare
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster import slurm_allocation
from inpaint_hpc.cluster.local import run_campaign
from inpaint_hpc.cluster.slurm.job_states import poll
from inpaint_hpc.cluster.slurm.sbatch import sbatch
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submissions import RUN, Submission, record
from inpaint_hpc.cluster.slurm.submit import submit_run

pytestmark = pytest.mark.slurm


def test_two_nodes_with_four_gpus_give_the_archive_of_one_process(slurm, campaign, monkeypatch):
    inline = campaign("inline")
    run_campaign(inline, "inline", device="cpu")
    run = campaign("run")
    monkeypatch.setenv("RAY_LEAK", "must not reach the job")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "7")  # as if submitted from within a job
    monkeypatch.setenv(SECONDS, "10")  # long enough that the second node still finds something to do
    settings = load_settings(
        None, {"nodes": 2, "time": 10, "gpus_per_node": 2, "cpus_per_task": 2, "device": "cuda", "threads": 1}
    )
    (submission,) = submit_run(run, settings, factory=TellingWorker)
    wait_for(lambda: state_of(run) not in ("PENDING", "RUNNING", "COMPLETING"), 150, "the job ends", run)
    assert state_of(run) == "COMPLETED", log_of(run)

    said = told(run.path)
    assert sorted(record["unit"] for record in said) == [str(unit) for unit in run.result_units()]
    assert len(said) == 6
    assert {(r["node"], r["gpu"]) for r in said} <= {("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")}
    assert {r["node"] for r in said} == {"n1", "n2"}
    assert all(r["device"] == "cuda" and r["leak"] is None and r["life"] == 0 for r in said)

    collect_run(inline)
    same = compare(inline.archive_path, run.archive_path)
    assert same.same_tasks and same.tasks == 6
    assert same.identical == same.samples == 12 and same.unpaired == same.different_status == 0

    folder = run.path / "slurm"
    assert folder.stat().st_mode & 0o077 == 0
    assert not list(folder.glob("*/token-*"))
    pickle = folder / submission.job / f"{submission.job}_submitted.pkl"
    assert pickle.stat().st_size < 2000


@pytest.mark.slow
def test_requeue_goes_on_where_it_was(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    (submission,) = submit_run(run, load_settings(None, {"time": 10, "cpus_per_task": 1}), factory=TellingWorker)
    wait_for(lambda: bool(told(run.path)), 90, "the first unit", run)
    before = {path: path.stat().st_mtime_ns for path in run.result_paths()}
    assert 0 < len(before) < 6
    slurm.run("scontrol", "requeue", submission.job)
    wait_for(lambda: state_of(run) == "COMPLETED", 150, "the requeued job ends", run)
    assert states(run)[submission.job].restarts == 1
    assert run.pending_units() == [] and run.archive_path.exists()
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    units = [record["unit"] for record in told(run.path)]
    assert sorted(units) == [str(unit) for unit in run.result_units()]
    assert {record["life"] for record in told(run.path)} == {0, 1}


@pytest.mark.slow
def test_a_cancelled_job_stays_cancelled_and_submit_goes_on(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    settings = load_settings(None, {"time": 10, "cpus_per_task": 1})
    (first,) = submit_run(run, settings, factory=TellingWorker)
    wait_for(lambda: bool(told(run.path)), 90, "the first unit", run)
    refused = CliRunner().invoke(cli, ["submit", str(run.path)])
    assert refused.exit_code == 2 and f"job {first.job} is running" in refused.output
    cancelled = CliRunner().invoke(cli, ["cancel", str(run.path)])
    assert cancelled.exit_code == 0 and cancelled.output.strip() == f"cancelled {first.job}"
    wait_for(lambda: state_of(run) == "CANCELLED", 60, "the job is cancelled", run)
    time.sleep(3)
    assert "stopped by SIGTERM" in log_of(run)  # there was time to tidy up
    assert not states(run)[first.job].living and run.pending_units()
    shown = CliRunner().invoke(cli, ["status", str(run.path)]).output
    assert any("CANCELLED" in line and "continues" in line for line in shown.splitlines())

    monkeypatch.setenv(SECONDS, "0")
    (second,) = submit_run(run, settings, factory=TellingWorker)
    wait_for(lambda: states(run)[second.job].state == "COMPLETED", 120, "the second job ends", run)
    assert run.pending_units() == []
    assert len(told(run.path)) == 6
    nothing = CliRunner().invoke(cli, ["submit", str(run.path)])
    assert nothing.exit_code == 2 and "all tasks are done" in nothing.output
    shown = CliRunner().invoke(cli, ["logs", str(run.path), "--rank", "0", "-n", "5"])
    assert shown.exit_code == 0 and "rank 0: done" in shown.output


def test_command_line_submits_with_a_clean_environment(slurm, campaign, tmp_path, monkeypatch):
    """The verb itself, from another process and another folder, with the campaign's own worker, in an odd place."""
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")  # as some sites set for all: srun would give the step nothing either
    run = campaign("it's $HOME; a run")
    command = [sys.executable, "-m", "inpaint_hpc", "submit", str(run.path), "--profile", "cpu"]
    command += ["--time", "5", "-c", "2", "--threads", "1", "--mem", "500M", "--sbatch", "comment=a b'c"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    job = said.stdout.strip()
    assert job.isdigit()
    assert "Comment=a b'c" in slurm.run("scontrol", "show", "job", job)
    wait_for(lambda: state_of(run) not in ("PENDING", "RUNNING", "COMPLETING"), 120, "the job ends", run)
    assert state_of(run) == "COMPLETED", log_of(run)
    assert run.pending_units() == [] and run.archive_path.exists()


def test_a_crashed_job_is_seen_as_failed_without_accounting(slurm):
    job = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3").strip()
    wait_until(lambda: not poll([job]).states[job].living, 30, "the job ends")
    begin = time.monotonic()
    state = poll([job, "999999"]).states
    assert (state[job].state, state[job].reason) == ("FAILED", "NonZeroExitCode")
    assert state["999999"].state == "UNKNOWN"
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--partition", "fast"], "no partition 'fast'; choose from main, urgent"),
        (["--gres", "gpu:9"], "SLURM refuses the job"),
        (["--time", "soon"], "time limit"),
        (["--profile", "nowhere"], "choose from cpu, generic, perlmutter"),
        (["--sbatch", "array=1-5"], "'array' cannot be set"),
        (["--account", "two words"], "one word"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(slurm, campaign, options, said):
    run = campaign("run")
    result = CliRunner().invoke(cli, ["submit", str(run.path), *options])
    assert result.exit_code == 2
    assert said in result.output
    assert sum(line.startswith("Error: ") for line in result.output.splitlines()) == 1
    assert slurm.run("squeue", "-h") == ""


def test_dry_run_shows_script_and_plan_and_leaves_nothing(slurm, campaign, tmp_path):
    run = campaign("run")
    before = sorted(run.path.rglob("*"))
    options = ["--profile", "perlmutter", "--allocations", "3", "--collect-after", "--dry-run"]
    result = CliRunner().invoke(cli, ["submit", str(run.path), *options, "-A", "m1"])
    assert result.exit_code == 0, result.output
    for line in ("--nodes=2", "--time=240", "--qos=regular", "--constraint=gpu", "--gpus-per-node=4", "--account=m1"):
        assert f"#SBATCH {line}" in result.output
    assert "#SBATCH --exclusive" in result.output and "#SBATCH --array=0-2%3" in result.output
    assert "6 tasks in 6 shards are left" in result.output and "3 allocations of 2 nodes" in result.output
    assert result.output.count("#!/bin/bash") == 2 and "#SBATCH --dependency=afterany:JOB" in result.output
    assert slurm.run("squeue", "-h") == "" and sorted(run.path.rglob("*")) == before

    # Of a configuration, with a `slurm` section of its own; sbatch accepts what is shown.
    config = tmp_path / "new.yaml"
    section = "slurm: {partition: main, gres: 'gpu:fake:1', mem: 500M, setup: [export A=b]}\n"
    config.write_text((tmp_path / "run.yaml").read_text().replace(str(run.path), str(tmp_path / "new")) + section)
    result = CliRunner().invoke(cli, ["submit", str(config), "--dry-run", "--time", "5"])
    assert result.exit_code == 0, result.output
    for line in ("#SBATCH --partition=main", "#SBATCH --gres=gpu:fake:1", "#SBATCH --mem=500M", "export A=b"):
        assert line in result.output.splitlines()
    assert any(line.startswith(f"[ -x {sys.executable} ] ||") for line in result.output.splitlines())
    assert f"{tmp_path / 'new'}/slurm" in result.output and not (tmp_path / "new").exists()
    script = tmp_path / "script.sh"
    script.write_text(result.output[result.output.index("#!/bin/bash") :])
    assert "to start at" in slurm.check("sbatch", "--test-only", str(script))


def test_a_job_that_was_queued_before_its_class_moved_does_its_work(slurm, campaign):
    run = campaign("run")
    old = slurm_allocation.Allocation(str(run.path), __version__, actors=1, threads=1, device="cpu")
    job, _ = sbatch(run.path, load_settings(None, {"time": 10, "cpus_per_task": 1}), [old])
    record(run, Submission(job, time.time(), "here", {}, 0, RUN))
    wait_for(lambda: state_of(run) not in ("PENDING", "RUNNING", "COMPLETING"), 150, "the job ends", run)
    assert state_of(run) == "COMPLETED" and run.pending_units() == [] and run.archive_path.exists(), log_of(run)
