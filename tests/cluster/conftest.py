"""Tiny campaigns: untrained weights, packaged MnO2 hosts, few steps; everything else is as in a real one."""

import pytest
from tiny_network import save_tiny_weights

from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cluster.local import run_campaign
from inpaint_hpc.planning.create_run import create_run


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights")).path


def configuration(weights, output, guests=("Li", "Na", "Mg"), min_shards=5, samples=2, each=None, **sections):
    """A configuration of 7 tasks per guest."""
    return CampaignConfig(
        hosts=[{"examples": "mno2"}],
        guests=[{guest: 1} for guest in guests],
        output=output,
        samples=samples,
        weights=str(weights),
        sampling={"steps": 3},
        pipeline={"score": False, "redraws": 0},
        resources={"min_shards": min_shards, "actors": 2, "threads": 1, "device": "cpu", **(each or {})},
        **sections,
    )


@pytest.fixture
def tiny_config(tiny_weights, tmp_path):
    """Makes such configurations."""
    return lambda output=None, *args, **options: configuration(
        tiny_weights, tmp_path / "run" if output is None else output, *args, **options
    )


@pytest.fixture
def tiny_run(tiny_config):
    """Makes run directories of such configurations."""
    return lambda *args, **options: create_run(tiny_config(*args, **options))


@pytest.fixture(scope="session")
def reference(tiny_weights, tmp_path_factory):
    """The archive of the campaign that `tiny_run()` makes, run in this process."""
    run = create_run(configuration(tiny_weights, tmp_path_factory.mktemp("reference") / "run"))
    run_campaign(run, "inline")
    return collect_run(run).path
