"""What a cluster does to jobs: limits, preemption, deaths.  Every campaign ends complete, every unit once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest
from campaign_workers import SECONDS, TellingWorker, log_of, state_of, states, told, wait_for
from dev_cluster import DevCluster

from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.cluster.slurm_profile import load_settings
from inpaint_hpc.cluster.slurm_submit import submit_run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def _submit(run: RunDirectory, **settings) -> str:
    return submit_run(run, load_settings(None, {"cpus_per_task": 1, **settings}), factory=TellingWorker)[0].job


def _complete(run: RunDirectory, job: str, seconds: float) -> None:
    wait_for(lambda: states(run)[job].state in ("COMPLETED", "FAILED", "TIMEOUT"), seconds, "the job ends", run)
    assert state_of(run) == "COMPLETED", log_of(run)
    assert run.pending_units() == [] and run.damaged_units() == {}
    assert run.archive_path.exists()


def _lives(run: RunDirectory) -> set[int]:
    return {record["life"] for record in told(run.path)}


def _processes(cluster: DevCluster, rank: int, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    return [p for p in cluster.processes() if p.environ().get("SLURM_PROCID") == str(rank) and wanted(p)]


def _kill_rank(cluster: DevCluster, rank: int) -> None:
    victims = _processes(cluster, rank, lambda p: "submitit.core._submit" in p.cmdline() and p.name() != "srun")
    assert victims
    for process in victims:
        process.send_signal(signal.SIGKILL)


def test_a_time_limit_of_a_minute(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "8")
    job = _submit(run, time=1)
    _complete(run, job, 500)
    assert len(_lives(run)) > 1
    assert len(told(run.path)) == 6  # nothing was lost at the ends of the allocations


def test_preemption(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    job = _submit(run, time=10, exclusive=True, nodes=2)
    wait_for(lambda: bool(told(run.path)), 90, "the first unit", run)
    slurm.run("sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    wait_for(lambda: states(run)[job].state != "RUNNING", 40, "the job makes room", run)
    _complete(run, job, 200)
    assert _lives(run) == {0, 1}


def test_death_of_rank_0_of_one_node(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    job = _submit(run, time=10)
    wait_for(lambda: bool(told(run.path)), 90, "the first unit", run)
    _kill_rank(slurm, 0)
    _complete(run, job, 200)
    assert _lives(run) == {0, 1}


def test_death_of_a_node(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "6")
    job = _submit(run, time=10, nodes=2)
    wait_for(lambda: {r["node"] for r in told(run.path)} == {"n1", "n2"}, 120, "units on both nodes", run)
    before = len(told(run.path))
    try:
        slurm.script("node-kill", "2")
        wait_for(lambda: len(told(run.path)) > before, 60, "the other node goes on", run)
        assert _lives(run) == {0}
    finally:
        slurm.script("node-start", "2")
    _complete(run, job, 300)


def test_death_of_the_head_node(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "6")
    job = _submit(run, time=10, nodes=2, head_timeout=20)
    wait_for(lambda: bool(told(run.path)), 120, "the first unit", run)
    head = "1" if states(run)[job].nodes.startswith("n[1") else "2"
    try:
        slurm.script("node-kill", head)
        wait_for(lambda: states(run)[job].state != "RUNNING", 120, "the job is requeued", run)
    finally:
        slurm.script("node-start", head)
    _complete(run, job, 300)
    assert _lives(run) == {0, 1}
