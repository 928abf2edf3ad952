"""Processes for the analysis beside the workers of every executor."""

import pytest

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.campaign.journal import read_journal
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cluster.driver import drive
from inpaint_hpc.cluster.local import Workers, choose_workers, make_executor


@pytest.mark.parametrize("cluster", ["inline", "ray"])
def test_workers_have_them_and_the_archive_is_the_same(tiny_run, tmp_path, cluster):
    runs = [tiny_run(tmp_path / str(analysis), min_shards=2) for analysis in (0, 1)]
    for analysis, run in enumerate(runs):
        drive(run, make_executor(run.path, Workers(1, "cpu", 1, analysis=analysis), cluster if analysis else "inline"))
        logs = [record for path in (run.path / "logs").glob("*.jsonl") for record in read_journal(path)]
        assert {record["analysis"] for record in logs if record["event"] == "started"} == {analysis}
        collect_run(run)
    found = compare(*(run.archive_path for run in runs))
    assert found.equal and found.tasks and found.samples == found.identical


def test_how_many_a_worker_gets():
    assert choose_workers(2, 1, "cpu").analysis == 0
    assert choose_workers(2, 1, "cpu", 3) == Workers(2, "cpu", 1, analysis=3)
