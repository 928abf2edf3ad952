"""Tiny campaigns: untrained weights, packaged MnO2 hosts, few steps; everything else is as in a real one."""

import pytest
from tiny_network import save_tiny_weights

from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.planning.create_run import create_run


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights")).path


@pytest.fixture
def tiny_config(tiny_weights, tmp_path):
    """Makes configurations of 7 tasks per guest."""

    def make(output=None, guests=("Li", "Na", "Mg"), min_shards=5, samples=2, **sections):
        return CampaignConfig(
            hosts=[{"examples": "mno2"}],
            guests=[{guest: 1} for guest in guests],
            output=tmp_path / "run" if output is None else output,
            samples=samples,
            weights=str(tiny_weights),
            sampling={"steps": 3},
            pipeline={"score": False, "redraws": 0},
            resources={"min_shards": min_shards, "actors": 2, "threads": 1, "device": "cpu"},
            **sections,
        )

    return make


@pytest.fixture
def tiny_run(tiny_config):
    """Makes run directories of such configurations."""
    return lambda *args, **options: create_run(tiny_config(*args, **options))
