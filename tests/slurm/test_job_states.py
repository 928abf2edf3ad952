"""States of jobs where SLURM cannot be asked: what the run directory knows.  Needs no SLURM."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.slurm.job_states import poll
from inpaint_hpc.cluster.slurm.rendezvous import JobContext, Rendezvous
from inpaint_hpc.cluster.slurm.submissions import RUN, Submission, record

CONTEXT = JobContext(job="7_1", restarts=2, rank=0, nodes=1, cpus=1, gpus=0, node="n1")


@pytest.fixture
def rendezvous(tmp_path: Path, monkeypatch) -> Rendezvous:
    """Of the third life of a job, on a machine without SLURM."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "run" / "slurm").mkdir(parents=True)
    found = Rendezvous(tmp_path / "run", CONTEXT.job, CONTEXT.restarts)
    found.open()
    return found


def _beat(run: Path, age: float) -> None:
    (run / f"driver-{CONTEXT.job}.json").write_text(json.dumps({"time": time.time() - age, "status": "running"}))


def test_what_the_run_directory_says(rendezvous, tmp_path):
    run = tmp_path / "run"

    def state():
        found = poll([CONTEXT.job], run)
        assert found.problem.startswith("no 'squeue' in PATH")
        return found.states[CONTEXT.job]

    assert state().state == "UNKNOWN" and not state().living
    rendezvous.publish_node(CONTEXT, "127.0.0.1")
    _beat(run, age=5.0)
    assert (state().state, state().nodes, state().restarts, state().source) == ("RUNNING", "n1", 2, "run directory")
    assert state().living
    _beat(run, age=3600.0)
    assert (state().state, state().reason) == ("LOST", "no sign of life for 60 minutes")
    for said, expected in (
        ("done", "COMPLETED"),
        ("the rest, 3 tasks, is in the hands of other jobs", "COMPLETED"),
        ("time is up, 3 tasks are left", "LOST"),
        ("weights.safetensors: unreadable", "FAILED"),
    ):
        rendezvous.end(said, 1)
        assert state().state == expected and said in state().reason and not state().living


@pytest.mark.parametrize("said", ["exit 1", "sleep 60"], ids=["fails", "hangs"])
def test_a_slurm_that_does_not_answer(rendezvous, tmp_path, monkeypatch, said):
    """A stand-in for squeue, because a real one cannot be made to hang."""
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{said}\n")
    (tmp_path / "squeue").chmod(0o755)
    from inpaint_hpc.cluster.slurm import job_states

    real = job_states.slurm
    monkeypatch.setattr(
        job_states,
        "slurm",
        lambda *words, timeout, clusters: real(*words, timeout=min(timeout, 1.0), clusters=clusters),
    )
    begin = time.monotonic()
    found = poll([CONTEXT.job], tmp_path / "run")
    assert time.monotonic() - begin < 10
    assert found.states[CONTEXT.job].state == "UNKNOWN"
    assert "squeue" in found.problem and "\n" not in found.problem


def test_status_shows_jobs_without_slurm(campaign, monkeypatch, tmp_path):
    run = campaign("run")
    (run.path / "slurm").mkdir()
    record(run, Submission("7", time.time(), "login", {"nodes": 1}, elements=2, kind=RUN))
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = CliRunner().invoke(cli, ["status", str(run.path)])
    assert shown.exit_code == 0 and "SLURM cannot be asked (no 'squeue' in PATH" in shown.output
    assert "7_0 UNKNOWN" in shown.output and "7_1 UNKNOWN" in shown.output
    said = json.loads(CliRunner().invoke(cli, ["status", str(run.path), "--json"]).output)
    assert [job["job"] for job in said["jobs"]] == ["7_0", "7_1"] and said["jobs_problem"]
    assert os.listdir(run.path / "slurm") == ["submissions"]
