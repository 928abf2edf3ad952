"""Sites whose SLURM commands say more than was asked, and users who have defaults for them, on a real SLURM."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from campaign_workers import states
from click.testing import CliRunner
from dev_cluster import wait_until
from site_commands import wrap_commands

from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.slurm.commands import accounts, end_time, largest_array, nodes, partitions, unreachable
from inpaint_hpc.cluster.slurm.job_states import poll
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submissions import submissions
from inpaint_hpc.cluster.slurm.submit import submit_run
from inpaint_hpc.errors import InputError

pytestmark = pytest.mark.slurm
# Jobs stay pending, however fast or slow the machine is.
HELD = ("--sbatch", "hold", "--time", "10", "-c", "1")


def _said(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, result.output
    return result.output


def _fields(slurm, job: str) -> str:
    return slurm.run("scontrol", "show", "job", "-o", job)


def test_commands_that_say_a_line_more(slurm, campaign, tmp_path, monkeypatch):
    run = campaign("run")
    wrap_commands(tmp_path / "bin", monkeypatch)
    _said("submit", str(run.path), "--allocations", "2", "-p", "main", *HELD)
    (submission,) = submissions(run)
    assert {name.partition("_")[0] for name in slurm.run("squeue", "-hro", "%F_%K").split()} == {submission.job}
    assert (submission.cluster, submission.elements) == ("", 2)
    folder = run.path / "slurm" / submission.job
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{submission.job}_{element}_submitted.pkl" for element in (0, 1)),
        f"{submission.job}_submission.sh",
    ]
    assert folder.stat().st_mode & 0o077 == 0 and not list((run.path / "slurm").glob(".sub*"))
    shown = json.loads(_said("status", str(run.path), "--json"))
    assert [(job["state"], job["reason"]) for job in shown["jobs"]] == [("PENDING", "JobHeldUser")] * 2
    assert shown["jobs_problem"] == ""
    assert f"job {submission.job}_0 is pending" in _said("submit", str(run.path), code=2)
    assert "nothing to submit" in _said("resume", str(run.path))
    assert _said("cancel", str(run.path)) == f"cancelled {submission.job}_0, {submission.job}_1\n"
    assert not [state for state in states(run).values() if state.living]


def test_what_such_a_site_is_said_to_have(slurm, campaign, tmp_path, monkeypatch):
    expected = partitions(), nodes(), accounts(), largest_array(), unreachable()
    assert expected[0] == ["main", "urgent"] and expected[3] == 1001
    wrap_commands(tmp_path / "bin", monkeypatch)
    assert (partitions(), nodes(), accounts(), largest_array(), unreachable()) == expected
    run = campaign("run")
    assert "choose from main, urgent\n" in _said("submit", str(run.path), "-p", "fast", code=2)
    refused = _said("submit", str(run.path), "--gres", "gpu:9", code=2)
    assert "SLURM refuses the job" in refused and refused.count("\n") == 1
    assert not list((run.path / "slurm").rglob("*.pkl")) and not list((run.path / "slurm").rglob(".sub*"))


def test_a_job_with_bytes_that_are_no_text(slurm, tmp_path, monkeypatch):
    command = [b"sbatch", b"--parsable", b"--output=/dev/null", b"--comment=caf\xe9", b"--job-name=M\xfcller"]
    done = subprocess.run([*command, b"--wrap=exit 3"], capture_output=True, check=True)
    job = done.stdout.decode().strip()
    wait_until(lambda: not poll([job]).states[job].living, 30, "the job ends")
    state = poll([job]).states[job]
    assert (state.state, state.reason, state.source) == ("FAILED", "NonZeroExitCode", "scontrol")
    wrap_commands(tmp_path / "bin", monkeypatch)
    assert poll([job]).states[job] == state


@pytest.mark.parametrize("answer", ["", "12 jobs of you wait", "\\351"], ids=["nothing", "words", "bytes"])
def test_an_answer_of_sbatch_without_an_id(slurm, campaign, tmp_path, monkeypatch, answer):
    """A stand-in, because the real one always gives an id."""
    run = campaign("run")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    said = _said("submit", str(run.path), code=2)
    assert "sbatch gives no job id" in said and said.count("\n") == 1
    assert submissions(run) == [] and not list((run.path / "slurm").iterdir())


def test_habits_of_the_user_hide_no_job(slurm, campaign, monkeypatch):
    run = campaign("run")
    for command in ("SQUEUE", "SCANCEL", "SINFO"):
        monkeypatch.setenv(f"{command}_PARTITION", "urgent")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    assert partitions() == ["main", "urgent"]
    _said("submit", str(run.path), "-p", "main", *HELD)
    job = submissions(run)[0].job
    assert f"{job} PENDING" in _said("status", str(run.path))
    assert _said("cancel", str(run.path)) == f"cancelled {job}\n"
    assert slurm.run("squeue", "-h") == ""
    running = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--time=10", "--wrap=sleep 600").strip()
    wait_until(lambda: poll([running]).states[running].state == "RUNNING", 30, "the job starts")
    assert 0 < end_time(running) - time.time() <= 600


def test_variables_of_sbatch_are_defaults(slurm, campaign, monkeypatch):
    run = campaign("run")
    for name, value in (
        *(("PARTITION", "urgent"), ("TIMELIMIT", "0:07:00"), ("MEM_PER_NODE", "500"), ("OVERCOMMIT", "")),
        *(("NO_REQUEUE", ""), ("ARRAY_INX", "0-3"), ("JOB_NAME", "x"), ("OUTPUT", "/tmp/x"), ("WAIT", "1")),
    ):
        monkeypatch.setenv(f"SBATCH_{name}", value)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "77")  # as if submitted from within a job
    shown = _said("submit", str(run.path), "--dry-run", "--sbatch", "hold")
    for line in ("partition: urgent (from SBATCH_PARTITION)", "time: 7 (from SBATCH_TIMELIMIT)"):
        assert f"# {line}\n" in shown
    assert "# extra.overcommit: True (from SBATCH_OVERCOMMIT)\n" in shown
    for name in ("NO_REQUEUE", "ARRAY_INX", "JOB_NAME", "OUTPUT", "WAIT"):
        assert f"# SBATCH_{name} has no influence here\n" in shown

    _said("submit", str(run.path), "--sbatch", "hold")
    job = submissions(run)[0].job
    fields = _fields(slurm, job)
    for field in ("Partition=urgent", "TimeLimit=00:07:00", "MinMemoryNode=500M", "Requeue=1", "JobName=inpaint-run"):
        assert f" {field} " in fields, fields
    assert "ArrayTaskId" not in fields
    _said("cancel", str(run.path))

    _said("submit", str(run.path), "--sbatch", "hold", "-p", "main", "--time", "9", "--sbatch", "mem-per-cpu=100")
    fields = _fields(slurm, submissions(run)[1].job)
    for field in ("Partition=main", "TimeLimit=00:09:00", "MinMemoryCPU=100M"):
        assert f" {field} " in fields, fields


def test_a_variable_that_is_no_setting_is_named(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "soon")
    said = _said("submit", str(run.path), code=2)
    assert said.startswith("Error: SBATCH_TIMELIMIT: time: write a time limit") and said.count("\n") == 1
    monkeypatch.setenv("SBATCH_TIMELIMIT", "5")
    monkeypatch.setenv("SBATCH_PARTITION", "fast")
    with pytest.raises(InputError, match="no partition 'fast'"):
        submit_run(run, load_settings())
