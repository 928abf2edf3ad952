"""A cluster with an accounting database: what sacct knows, accounts, and a queue that takes no more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from campaign_workers import SECONDS, TellingWorker, log_of, state_of, states, told, wait_for
from click.testing import CliRunner
from dev_cluster import DevCluster, a_cluster, wait_until

from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.slurm.job_states import poll
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submissions import submissions
from inpaint_hpc.cluster.slurm.submit import submit_run
from inpaint_hpc.errors import InputError

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """With a database."""
    yield from a_cluster("--accounting")


def test_jobs_that_slurmctld_has_forgotten(slurm):
    """After MinJobAge only the accounting knows a job; here a new slurmctld that starts from nothing stands for it."""
    crashed = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3").strip()
    array = slurm.run("sbatch", "--parsable", "--array=0-1", "--output=/dev/null", "--wrap=true").strip()
    wanted = [crashed, f"{array}_0", f"{array}_1"]
    wait_until(lambda: not poll(wanted).living, 30, "the jobs end")
    wait_until(lambda: {state.source for state in poll(wanted).states.values()} == {"sacct"}, 30, "all are accounted")
    slurm.restart_controller("-c")
    found = poll(wanted).states
    assert (found[crashed].state, found[crashed].reason, found[crashed].source) == ("FAILED", "exit status 3", "sacct")
    assert {found[f"{array}_{element}"].state for element in (0, 1)} == {"COMPLETED"}
    assert poll(["999999"]).states["999999"].state == "UNKNOWN"


@pytest.mark.parametrize("wanted", ["dev", "all", "dev,dev"])
def test_a_cluster_that_is_asked_for_by_name(slurm, campaign, monkeypatch, wanted):
    run = campaign("run")
    monkeypatch.setenv("SBATCH_CLUSTERS", wanted)
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    options = ["--allocations", "2", "--sbatch", "hold", "--collect-after"]
    submitted = CliRunner().invoke(cli, ["submit", str(run.path), *options])
    assert submitted.exit_code == 0, submitted.output
    first, second = submissions(run)
    assert first.cluster == second.cluster == "dev"
    assert " Account=lab " in slurm.run("scontrol", "show", "job", "-o", first.job)
    monkeypatch.setenv("SLURM_CLUSTERS", "nowhere")  # of no influence on what is submitted already
    shown = CliRunner().invoke(cli, ["status", str(run.path)])
    assert f"{first.job}_0 PENDING of cluster dev" in shown.output, shown.output
    again = CliRunner().invoke(cli, ["submit", str(run.path)])
    assert again.exit_code == 2 and "is pending" in again.output
    cancelled = CliRunner().invoke(cli, ["cancel", str(run.path)])
    assert cancelled.output == f"cancelled {first.job}_0, {first.job}_1, {second.job}\n"
    assert slurm.run("squeue", "-h") == ""
    unknown = CliRunner().invoke(cli, ["submit", str(run.path)])
    assert unknown.exit_code == 2 and "No cluster 'nowhere' known" in unknown.output


def test_a_missing_account_is_reported_with_the_valid_ones(slurm, campaign):
    run = campaign("run")
    result = CliRunner().invoke(cli, ["submit", str(run.path), "--account", "nobody"])
    assert result.exit_code == 2 and "no account 'nobody'; choose from lab" in result.output
    assert slurm.run("squeue", "-h") == "" and not (run.path / "slurm").exists()


def test_a_full_queue_refuses_and_loses_nothing(slurm, campaign, monkeypatch):
    run = campaign("run")
    limit = ("sacctmgr", "-i", "modify", "user", _user(), "set")
    slurm.run(*limit, "MaxSubmitJobs=1")
    try:
        wait_until(lambda: _submit_limit(slurm) == "1", 20, "the limit holds")
        other = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").strip()
        with pytest.raises(InputError, match=r"SLURM refuses the job.*submit"):
            submit_run(run, load_settings(None, {"time": 10, "cpus_per_task": 1}), factory=TellingWorker)
        assert not list((run.path / "slurm").rglob("*.pkl")) and not list((run.path / "slurm").rglob(".sub*"))
        slurm.run("scancel", other)
        wait_until(lambda: slurm.run("squeue", "-h") == "", 30, "the other job ends")
        monkeypatch.setenv(SECONDS, "0")
        submit_run(run, load_settings(None, {"time": 10, "cpus_per_task": 1}), factory=TellingWorker)
    finally:
        slurm.run(*limit, "MaxSubmitJobs=-1")
    wait_for(lambda: state_of(run) == "COMPLETED", 120, "the job ends", run)
    assert len(told(run.path)) == 6 and run.pending_units() == []


def test_a_crashed_campaign_with_and_without_slurmdbd(slurm, campaign):
    """Its weights are gone: the job fails, and `status` says so whether or not the accounting answers."""
    run = campaign("run")
    submit_run(run, load_settings(None, {"time": 10, "cpus_per_task": 1}), factory=TellingWorker)
    run.weights_path.rename(run.path / "elsewhere")
    wait_for(lambda: state_of(run) == "FAILED", 90, "the job fails", run)
    assert next(iter(states(run).values())).source == "sacct"
    slurm.kill_daemon("slurmdbd")
    try:
        begin = time.monotonic()
        shown = CliRunner().invoke(cli, ["status", str(run.path)])
        assert time.monotonic() - begin < 30
        assert shown.exit_code == 0 and "FAILED" in shown.output and "weights.safetensors" in shown.output, shown.output
        assert next(iter(states(run).values())).source == "scontrol"
    finally:
        slurm.script("up")
    assert "weights.safetensors" in log_of(run)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _submit_limit(slurm: DevCluster) -> str:
    text = slurm.run("scontrol", "-o", "show", "assoc_mgr", f"users={_user()}", "flags=assoc")
    return "1" if "MaxSubmitJobs=1(" in text else "none"
