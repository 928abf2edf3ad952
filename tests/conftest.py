"""Fixtures shared by all tests (weights, runs); tests that need a GPU are skipped where there is none."""

import pytest
import torch

from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.configuration import validate
from inpaint_hpc.planning.create_run import create_run


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no GPU on this machine"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A .safetensors file; its network places guests almost at random."""
    from dataclasses import asdict

    from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
    from inpaint_hpc.network.weights import save_weights

    torch.manual_seed(0)
    sizes = NetworkConfig(scalars=8, channels=4, tensor_channels=4, hidden=8, host_layers=1, guest_layers=1, n_basis=4)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(ScoreNetwork(sizes).state_dict(), path, {"name": "tiny", "network": asdict(sizes)})
    return path


@pytest.fixture
def make_config(tmp_path, weights):
    """A configuration that runs in seconds; arguments replace its keys."""

    def make(**changes):
        data = {
            "hosts": {"examples": "mno2"},
            "guests": [{"Li": 1}],
            "output": str(tmp_path / "run"),
            "samples": 3,
            "weights": str(weights),
            "sampling": {"steps": 4},
            "pipeline": {"score": False, "redraws": 2},
            **changes,
        }
        return validate(CampaignConfig, data, "campaign.yaml")

    return make


@pytest.fixture
def make_run(make_config):
    """A run directory; arguments as `make_config`."""
    return lambda **changes: create_run(make_config(**changes))
