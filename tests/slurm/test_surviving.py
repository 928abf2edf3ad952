"""What a cluster does to jobs: limits, preemption, deaths.  Every campaign ends complete, every task once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest
from campaign_workers import SECONDS, TellingWorker, complete, log_of, state_of, states, told, wait_for
from click.testing import CliRunner
from dev_cluster import DevCluster

from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.ray.node import clean_up
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submit import submit_run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def _submit(run: RunDirectory, **settings) -> str:
    return submit_run(run, load_settings(None, {"cpus_per_task": 1, **settings}), factory=TellingWorker)[0].job


def _lives(run: RunDirectory) -> set[int]:
    return {record["life"] for record in told(run.path)}


def _first_unit(run: RunDirectory) -> None:
    wait_for(lambda: bool(told(run.path)), 120, "the first unit", run)


def _kill(cluster: DevCluster, wanted: Callable[[psutil.Process], bool], rank: int = 0) -> None:
    victims = [p for p in cluster.processes() if p.environ().get("SLURM_PROCID") == str(rank) and wanted(p)]
    assert victims
    for process in victims:
        process.send_signal(signal.SIGKILL)


def _is_step(process: psutil.Process) -> bool:
    return "inpaint_hpc.cluster.slurm.start" in process.cmdline() and process.name() != "srun"


def test_a_campaign_that_needs_three_times_the_time_limit(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "20")  # six of them, and about forty seconds in each allocation of a minute
    job = _submit(run, time=1)
    complete(run, job, 700)
    assert len(_lives(run)) >= 3
    assert len(told(run.path)) == 6  # nothing was lost at the ends of the allocations


@pytest.mark.parametrize("warned", [True, False], ids=["with a signal", "without a signal"])
def test_preemption(slurm, campaign, monkeypatch, warned):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    if not warned:
        slurm.reconfigure("SlurmctldParameters=preempt_send_user_signal", "")
    try:
        job = _submit(run, time=10, exclusive=True, nodes=2)
        _first_unit(run)
        slurm.run("sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
        wait_for(lambda: states(run)[job].state != "RUNNING", 40, "the job makes room", run)
        complete(run, job, 200)
    finally:
        slurm.reconfigure()
    assert _lives(run) == {0, 1}
    assert ("SLURM wants the nodes back" in log_of(run)) == warned


@pytest.mark.parametrize(
    "wanted",
    [lambda p: p.cmdline()[:1] == ["ray::UnitActor.run_unit"], lambda p: p.name() == "raylet"],
    ids=["actor", "raylet"],
)
def test_death_of_a_process_of_ray(slurm, campaign, monkeypatch, wanted):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    job = _submit(run, time=10)
    _first_unit(run)
    _kill(slurm, wanted)
    complete(run, job, 150)
    assert _lives(run) == {0}  # without a requeue


@pytest.mark.parametrize("nodes", [1, 2])
def test_death_of_rank_0(slurm, campaign, monkeypatch, nodes):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    job = _submit(run, time=10, nodes=nodes, head_timeout=20)
    _first_unit(run)
    _kill(slurm, _is_step)
    complete(run, job, 200)
    assert _lives(run) == {0, 1}


@pytest.mark.parametrize("full", [[], ["--full"]], ids=["the steps", "with the batch script"])
def test_the_whole_job_is_killed_and_resumed(slurm, campaign, monkeypatch, full):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "3")
    job = _submit(run, time=10)
    _first_unit(run)
    slurm.run("scancel", "--signal=KILL", *full, job)
    wait_for(lambda: not states(run)[job].living, 60, "the job ends", run)
    assert states(run)[job].state in ("CANCELLED", "FAILED") and run.pending_units()
    result = CliRunner().invoke(cli, ["resume", str(run.path)])
    assert result.exit_code == 0, result.output
    complete(run, result.stdout.strip(), 200)


def test_one_element_of_an_array_is_requeued(slurm, campaign, monkeypatch):
    """The other one goes on, and is not requeued with it."""
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "5")
    job = _submit(run, time=10, allocations=2)
    wait_for(lambda: len({record["job"] for record in told(run.path)}) == 2, 120, "units in both", run)
    slurm.run("scontrol", "requeue", f"{job}_1")
    complete(run, f"{job}_0", 200)
    complete(run, f"{job}_1", 100)
    assert states(run)[f"{job}_0"].restarts == 0 and states(run)[f"{job}_1"].restarts == 1
    assert len(told(run.path)) == 6


def test_rank_0_of_an_element_dies(slurm, campaign, monkeypatch):
    """The shard in its hands is done by the other one when the claim has expired, or by its next life."""
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "5")
    job = _submit(run, time=10, allocations=2, claim_timeout=10)
    wait_for(lambda: len({record["job"] for record in told(run.path)}) == 2, 120, "units in both", run)
    _kill(slurm, lambda p: _is_step(p) and p.environ().get("SLURM_ARRAY_TASK_ID") == "1")
    complete(run, f"{job}_0", 200)
    complete(run, f"{job}_1", 200)
    assert states(run)[f"{job}_0"].restarts == 0


# A node on which everything dies at once leaves its temporary folder; the next driver there removes it.  So do the next
# three tests.
def test_death_of_a_slurmd(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "10")
    job = _submit(run, time=10, nodes=2)
    _first_unit(run)
    other = "slurmd-n2" if slurm.rank_node(0) == "n1" else "slurmd-n1"
    slurm.kill_daemon(other)
    try:
        wait_for(lambda: run.pending_units() == [], 150, "all is done", run)
    finally:
        slurm.script("up")
    complete(run, job, 200)
    clean_up(run.path)


def test_death_of_a_node(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "6")
    job = _submit(run, time=10, nodes=2)
    wait_for(lambda: {r["node"] for r in told(run.path)} == {"n1", "n2"}, 120, "units on both nodes", run)
    before = len(told(run.path))
    other = "2" if slurm.rank_node(0) == "n1" else "1"
    try:
        slurm.script("node-kill", other)
        wait_for(lambda: len(told(run.path)) > before, 60, "the other node goes on", run)
        assert _lives(run) == {0}
    finally:
        slurm.script("node-start", other)
    complete(run, job, 300)
    clean_up(run.path)


def test_death_of_the_head_node(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "6")
    job = _submit(run, time=10, nodes=2, head_timeout=20)
    _first_unit(run)
    head = slurm.rank_node(0).removeprefix("n")
    try:
        slurm.script("node-kill", head)
        wait_for(lambda: states(run)[job].state != "RUNNING", 120, "the job is requeued", run)
    finally:
        slurm.script("node-start", head)
    complete(run, job, 300)
    clean_up(run.path)
    assert _lives(run) == {0, 1}


def test_slurmctld_is_away_for_a_while(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "15")  # questions that nobody answers take their time
    job = _submit(run, time=10)
    _first_unit(run)
    before = len(told(run.path))
    slurm.kill_daemon("slurmctld")
    try:
        found = states(run)[job]
        assert (found.state, found.source) == ("RUNNING", "run directory")
        shown = CliRunner().invoke(cli, ["status", str(run.path)])
        assert shown.exit_code == 0 and "SLURM cannot be asked" in shown.output
        refused = CliRunner().invoke(cli, ["submit", str(run.path)])
        assert refused.exit_code == 2 and f"job {job} is running" in refused.output
        wait_for(lambda: len(told(run.path)) > before, 60, "the job goes on", run)
    finally:
        slurm.script("up")
    complete(run, job, 200)
    assert state_of(run) == "COMPLETED" and _lives(run) == {0}
