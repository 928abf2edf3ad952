"""What is checked on each node before it works: version, weights, GPUs; a bad node does not sink the others."""

from __future__ import annotations

import pytest
from campaign_workers import SECONDS, OneBadNode, TellingWorker, complete, log_of, states, told, wait_for

from inpaint_hpc.cluster.slurm import submit
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.submit import submit_run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def _fails(run, job: str, *said: str) -> None:
    wait_for(lambda: not states(run)[job].living, 90, "the job ends", run)
    assert states(run)[job].state == "FAILED"
    assert all(text in log_of(run) for text in said), log_of(run)
    assert said[0] in states(run)[job].reason  # so that `status` shows it


@pytest.mark.parametrize("bad", [0, 1], ids=["the head's", "another"])
def test_one_bad_node_does_not_sink_the_others(slurm, campaign, monkeypatch, bad):
    run = campaign("run")
    monkeypatch.setenv(SECONDS, "1")
    monkeypatch.setenv("TEST_BAD_NODE", f"n{bad + 1}")
    settings = load_settings(None, {"time": 10, "cpus_per_task": 1, "nodes": 2})
    (submission,) = submit_run(run, settings, factory=OneBadNode)
    complete(run, submission.job, 150)
    assert {record["node"] for record in told(run.path)} == {f"n{2 - bad}"}
    assert f"n{bad + 1}: its GPU is broken" in log_of(run)


def test_no_gpu_is_visible(slurm, campaign):
    run = campaign("run")
    settings = load_settings(None, {"time": 10, "cpus_per_task": 1, "gpus_per_node": 2, "device": "cuda"})
    (submission,) = submit_run(run, settings)
    _fails(run, submission.job, "of 2 GPUs")


def test_another_version_and_other_weights(slurm, campaign, monkeypatch):
    run = campaign("run")
    settings = load_settings(None, {"time": 10, "cpus_per_task": 1})
    with monkeypatch.context() as patch:
        patch.setattr(submit, "__version__", "0.0.1")
        (submission,) = submit_run(run, settings, factory=TellingWorker)
    _fails(run, submission.job, "0.0.1 submitted this job", "submit again")
    weights = bytearray(run.weights_path.read_bytes())
    weights[-1] ^= 1
    run.weights_path.write_bytes(weights)
    (submission,) = submit_run(run, settings, factory=TellingWorker)
    _fails(run, submission.job, "is not the file that the campaign was created with")
