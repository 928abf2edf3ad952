"""Tiny campaigns: untrained weights, packaged MnO2 hosts, few steps; everything else is as in a real one."""

import pytest
import torch

from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.network.weights import save_weights
from inpaint_hpc.planning.create_run import create_run

SIZES = {"scalars": 8, "channels": 4, "tensor_channels": 2, "hidden": 8, "host_layers": 1, "guest_layers": 1}


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    torch.manual_seed(0)
    network = ScoreNetwork(NetworkConfig(**SIZES))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return save_weights(network.state_dict(), path, {"network": network.to_dict()}).path


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
