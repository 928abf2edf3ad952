"""Fixtures shared by all tests (weights, runs); tests that need a GPU are skipped where there is none."""

import pytest
import torch
from tiny_network import save_tiny_weights

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
    return save_tiny_weights(tmp_path_factory.mktemp("weights"), tensor_channels=4, n_basis=4).path


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
