"""Nodes with a network of their own, one of which is cut off: the rest goes on, and the node comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campaign_workers import SECONDS, TellingWorker, complete, log_of, told, wait_for
from dev_cluster import DevCluster, a_cluster

from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submit import submit_run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """With cables."""
    yield from a_cluster("--network")


def test_a_node_that_is_cut_off(slurm, campaign, monkeypatch):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "8")
    settings = load_settings(None, {"nodes": 2, "time": 10, "cpus_per_task": 1})
    (submission,) = submit_run(run, settings, factory=TellingWorker)
    wait_for(lambda: {r["node"] for r in told(run.path)} == {"n1", "n2"}, 120, "units on both nodes", run)
    head = slurm.rank_node(0)
    other = "2" if head == "n1" else "1"
    slurm.script("link-cut", other)
    try:
        wait_for(lambda: run.pending_units() == [], 150, "the other node does the rest", run)
    finally:
        slurm.script("link-mend", other)
    complete(run, submission.job, 120)
    assert {record["life"] for record in told(run.path)} == {0}
    # The unit in the hands of the node that was cut off may have been finished twice, all others once.
    assert len(told(run.path)) <= 7 and len({record["unit"] for record in told(run.path)}) == 6
    assert "the head says: done" in log_of(run)
