"""The score network with kernels against the same network in torch: neighbours, scores and gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals, Guests
from inpaint_hpc.crystals.neighbors import crystal_neighbors, neighbor_pairs, periodic_images
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork

pytest.importorskip("triton")
SIZES = NetworkConfig(
    scalars=12, channels=10, tensor_channels=4, hidden=14, host_layers=2, guest_layers=2, guest_cutoff=4.0,
    host_cutoff=3.0, n_basis=5,
)  # fmt: skip


def crystals(seed=0, sizes=(3, 0, 2)):
    rng = np.random.default_rng(seed)
    cells = [np.eye(3) * 3.6 + rng.normal(size=(3, 3)) * 0.5 for _ in sizes]
    return [
        Crystal(rng.integers(1, 80, n), rng.uniform(-1, 2, (n, 3)), cell) for n, cell in zip(sizes, cells, strict=True)
    ]


def problem(device, dtype=torch.float64):
    """Three hosts, one of them empty, with four samples in them."""
    hosts = Crystals.from_list(crystals(), device, dtype)
    sample = torch.tensor([0, 0, 1, 2, 2, 3], device=device)
    x = torch.tensor(np.random.default_rng(1).uniform(0, 4, (6, 3)), dtype=dtype, device=device)
    guests = Guests(torch.tensor([3, 3, 11, 8, 8, 12], device=device), x, sample, torch.tensor([0, 0, 1, 2]).to(device))
    return hosts, guests, torch.tensor([0.05, 0.3, 1.0, 3.0], dtype=dtype, device=device)


@pytest.fixture
def without_kernels(monkeypatch):
    """Calls a function with kernels turned off."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setenv("INPAINT_HPC_KERNELS", "0")
            return function(*arguments)

    return call


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbors_are_the_same_in_the_same_order(device, dtype, without_kernels):
    hosts, guests, _ = problem(device, dtype)
    images = periodic_images(hosts.cells, 4.0)

    def lists():
        x, sample = guests.positions, guests.sample
        return (
            crystal_neighbors(hosts, 4.0),
            neighbor_pairs(x, guests.crystal, hosts.positions, hosts.crystal, images),
            neighbor_pairs(x, sample, x, sample, images, guests.host, same=True),
        )

    for found, expected in zip(lists(), without_kernels(lists), strict=True):
        assert len(expected) > 20
        for name in ("receiver", "sender", "shift", "lengths"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        torch.testing.assert_close(
            found.vector, expected.vector, atol=1e-6 if dtype == torch.float32 else 1e-12, rtol=0
        )


def test_no_atoms_no_neighbors(device):
    nothing = Crystals.from_list(crystals(sizes=(0, 0)), device, torch.float64)
    assert len(crystal_neighbors(nothing, 4.0)) == 0


def scores_and_gradients(network, hosts, guests, sigma):
    for parameter in network.parameters():
        parameter.grad = None
    scores = network.denoise(network.encode(hosts), guests, sigma)
    scores.square().sum().backward()
    return scores.detach(), {name: p.grad for name, p in network.named_parameters()}


def test_scores_and_gradients_are_the_same(device, without_kernels):
    torch.manual_seed(0)
    network = ScoreNetwork(SIZES).double().to(device)
    torch.nn.init.normal_(network.readout.second.weight)
    arguments = (network, *problem(device))
    found, gradients = scores_and_gradients(*arguments)
    expected, expected_gradients = without_kernels(scores_and_gradients, *arguments)
    assert expected.abs().max() > 0.1
    # The gain of the activation arrives in single precision.
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    for name, gradient in expected_gradients.items():
        assert (gradient is None) == (gradients[name] is None), name
        if gradient is not None:
            scale = float(gradient.abs().max())
            torch.testing.assert_close(gradients[name], gradient, atol=1e-6 * scale + 1e-12, rtol=1e-5, msg=name)


def test_an_empty_batch_of_edges_passes(device):
    """One guest alone in a large empty cell: no edge at all, neither forwards nor backwards."""
    network = ScoreNetwork(replace(SIZES, guest_cutoff=2.0)).to(device)
    hosts = Crystals.from_list([Crystal([], np.zeros((0, 3)), np.eye(3) * 9.0)], device)
    zero = torch.zeros(1, dtype=torch.long, device=device)
    guests = Guests(zero + 3, torch.zeros(1, 3, device=device), zero, zero)
    loss = network.denoise(network.encode(hosts), guests, torch.ones(1, device=device)).sum()
    loss.backward()
    assert float(loss.detach()) == 0.0


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_twice_and_those_of_the_cpu_within_rounding():
    torch.manual_seed(0)
    network = ScoreNetwork(NetworkConfig())
    torch.nn.init.normal_(network.readout.second.weight)
    cpu, _ = scores_and_gradients(network, *problem("cpu", torch.float32))
    network = network.to("cuda")
    first, gradients = scores_and_gradients(network, *problem("cuda", torch.float32))
    second, again = scores_and_gradients(network, *problem("cuda", torch.float32))
    torch.testing.assert_close(first.cpu(), cpu, atol=1e-4, rtol=1e-3)
    assert torch.equal(first, second)
    assert [name for name in gradients if gradients[name] is not None and not gradients[name].equal(again[name])] == []
