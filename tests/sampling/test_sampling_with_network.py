"""Sampling with the real score network (random weights): batching must not matter beyond float32 rounding."""

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = ScoreNetwork(
        NetworkConfig(scalars=16, channels=8, tensor_channels=4, hidden=16, host_layers=2, guest_layers=2)
    )
    # A new network's last layer is zero, and its score with it.
    torch.nn.init.normal_(net.readout.second.weight)
    return net


def tasks() -> list[Task]:
    rng = np.random.default_rng(2)
    result = []
    for n_host, n_guests in ((3, 1), (6, 2), (9, 3), (0, 4)):
        lattice = np.eye(3) * (5.0 if n_host == 0 else 3.0 + 0.7 * n_host**0.6) + rng.normal(0, 0.3, (3, 3))
        host = Crystal(rng.integers(8, 30, n_host), rng.random((n_host, 3)), lattice, f"{n_host} atoms")
        result.append(Task(host, {"Li": n_guests}))
    return result


@pytest.mark.parametrize(
    "settings", [{}, {"sampler": "heun"}, {"sampler": "dpm-solver"}, {"strategy": "replacement"}], ids=str
)
def test_one_sample_at_a_time_equals_all_at_once(network, settings):
    settings = SamplingSettings(samples=5, steps=15, **settings)
    together = sample(network, tasks(), settings)
    for task, expected in zip(tasks(), together, strict=True):
        assert 0.1 < expected.frac_coords.std() < 0.5
        for index in range(5):
            (alone,) = sample(network, [task], settings, first_sample=index, samples=1)
            difference = alone.frac_coords[0] - expected.frac_coords[index]
            distance = np.abs((difference - np.round(difference)) @ task.host.lattice).max()
            assert distance < 1e-3


def test_sampling_leaves_the_network_as_it_was(network):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    (result,) = sample(network, tasks()[:1], SamplingSettings(samples=1, steps=3))
    assert network.training and np.isfinite(result.frac_coords).all()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
