"""How often a task asks spglib and CHGNet: exact counts, because times depend on the machine."""

from collections import Counter

import pytest
import spglib
from example_hosts import MNO2

from inpaint_hpc.crystals import symmetry
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import run_tasks
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
from inpaint_hpc.sites import symmetry_levels


@pytest.fixture
def calls(monkeypatch):
    counts = Counter()
    real, evaluate = spglib.get_symmetry_dataset, BatchEvaluator.__call__

    def dataset(cell, **options):
        counts["spglib"] += 1
        return real(cell, **options)

    def evaluated(self, crystals, progress=None):
        counts["CHGNet"] += 1
        counts["structures"] += len(crystals)
        return evaluate(self, crystals, progress)

    monkeypatch.setattr(spglib, "get_symmetry_dataset", dataset)
    monkeypatch.setattr(BatchEvaluator, "__call__", evaluated)
    symmetry._dataset_of.cache_clear()
    symmetry_levels._levels.cache_clear()
    return counts


def test_a_host_is_analysed_once(calls):
    network, host = load_network(None), read_hosts(MNO2 / "lambda_mp-25275.cif")[0]
    sampling, pipeline = SamplingSettings(samples=4, steps=12), PipelineSettings(score=False)
    first = run_tasks(network, [Task(host, ["Li"])], sampling, pipeline)[0]
    # The host, its standard cell, and that with the sites of all candidates.
    assert calls["spglib"] == 3 and len(first.candidates) >= 1
    again = run_tasks(network, [Task(host, ["Li"])], sampling, pipeline)[0]
    assert calls["spglib"] == 3
    assert [c.wyckoff for c in again.candidates] == [c.wyckoff for c in first.candidates]
    # In other batches samples differ in their last digits: only the host with its sites marked is new.
    run_tasks(network, [Task(host, ["Li"])] * 4, sampling, pipeline)
    assert calls["spglib"] <= 3 + 4


def test_a_task_with_several_guests_asks_spglib_for_new_crystals_only(calls):
    network, host = load_network(None), read_hosts(MNO2 / "lambda_mp-25275.cif")[0]
    sampling, pipeline = SamplingSettings(samples=3, steps=12), PipelineSettings(evaluations=6)
    run_tasks(network, [Task(host, ["Li", "Li"])], sampling, pipeline)
    first = calls["spglib"]
    run_tasks(network, [Task(host, ["Li", "Li"])], sampling, pipeline)
    assert first <= 60 and calls["spglib"] == first
