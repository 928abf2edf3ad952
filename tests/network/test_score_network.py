"""Symmetries of the score network, and the promise that makes it cheap: host features do not depend on guests."""

import numpy as np
import pytest
import torch
from e3nn import o3

from inpaint_hpc.crystals.batch import Crystal, Crystals, Guests
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork

SMALL = NetworkConfig(scalars=24, channels=12, tensor_channels=6, hidden=16, host_layers=2, guest_layers=3)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = ScoreNetwork(SMALL).double().eval().requires_grad_(False)
    torch.nn.init.normal_(net.readout.second.weight)
    return net


def crystal(seed, n=6, size=4.2):
    rng = np.random.default_rng(seed)
    lattice = np.eye(3) * size + rng.normal(size=(3, 3)) * 0.5
    return Crystal(rng.choice([8, 25, 22, 16], n), rng.random((n, 3)), lattice)


def guests_of(hosts, per_host=3, samples=1, seed=0):
    """`samples` samples in each host, each with `per_host` guests."""
    rng = np.random.default_rng(seed)
    numbers, positions, sample, host = [], [], [], []
    for b, h in enumerate(hosts):
        for _ in range(samples):
            numbers.append(rng.choice([3, 11], per_host))
            positions.append(rng.random((per_host, 3)) @ h.lattice)
            sample.append(np.full(per_host, len(host)))
            host.append(b)
    return Guests(
        torch.tensor(np.concatenate(numbers)),
        torch.tensor(np.concatenate(positions)),
        torch.tensor(np.concatenate(sample)),
        torch.tensor(host),
    )


def scores(network, hosts, guests, sigma=0.6):
    batch = Crystals.from_list(hosts, dtype=torch.float64)
    level = torch.full((len(guests),), sigma, dtype=torch.float64)
    return network.denoise(network.encode(batch), guests, level)


def transformed(host, guests, matrix):
    m = matrix.numpy()
    turned = Crystal(host.numbers, host.frac_coords, host.lattice @ m.T)
    return turned, guests.at(guests.positions @ matrix.T)


@pytest.mark.parametrize("reflect", [False, True])
def test_scores_turn_with_the_crystal(network, reflect):
    host = crystal(1)
    guests = guests_of([host])
    matrix = o3.rand_matrix(dtype=torch.float64) * (-1.0 if reflect else 1.0)
    turned, turned_guests = transformed(host, guests, matrix)
    expected = scores(network, [host], guests) @ matrix.T
    torch.testing.assert_close(scores(network, [turned], turned_guests), expected, atol=1e-9, rtol=0)
    assert expected.norm() > 0.1


def test_scores_do_not_depend_on_the_origin(network):
    host = crystal(2)
    guests = guests_of([host])
    move = np.array([0.31, -0.87, 1.4])
    moved = Crystal(host.numbers, host.frac_coords + move, host.lattice)
    shift = torch.tensor(move @ host.lattice)
    result = scores(network, [moved], guests.at(guests.positions + shift))
    torch.testing.assert_close(result, scores(network, [host], guests), atol=1e-9, rtol=0)


def test_scores_do_not_depend_on_which_image_is_stored(network):
    host = crystal(2)
    guests = guests_of([host])
    images = torch.tensor(np.array([[1, 0, -2], [0, 3, 0], [-1, -1, 1]]) @ host.lattice)
    result = scores(network, [host], guests.at(guests.positions + images))
    torch.testing.assert_close(result, scores(network, [host], guests), atol=1e-9, rtol=0)


def test_scores_follow_the_order_of_atoms(network):
    host = crystal(3)
    guests = guests_of([host])
    order = np.array([4, 0, 5, 2, 1, 3])
    shuffled = Crystal(host.numbers[order], host.frac_coords[order], host.lattice)
    perm = torch.tensor([2, 0, 1])
    other = Guests(guests.numbers[perm], guests.positions[perm], guests.sample, guests.host)
    expected = scores(network, [host], guests)[perm]
    torch.testing.assert_close(scores(network, [shuffled], other), expected, atol=1e-9, rtol=0)


def test_a_supercell_with_the_same_content_has_the_same_scores(network):
    host = crystal(4)
    guests = guests_of([host])
    c = host.lattice[2]
    lattice = host.lattice.copy()
    lattice[2] *= 2
    half = host.frac_coords * [1, 1, 0.5]
    double = Crystal(np.tile(host.numbers, 2), np.concatenate([half, half + np.array([0, 0, 0.5])]), lattice)
    positions = torch.cat([guests.positions, guests.positions + torch.tensor(c)])
    many = Guests(guests.numbers.repeat(2), positions, guests.sample.repeat(2), guests.host)
    expected = scores(network, [host], guests).repeat(2, 1)
    torch.testing.assert_close(scores(network, [double], many), expected, atol=1e-9, rtol=0)


def test_another_choice_of_cell_vectors_has_the_same_scores(network):
    host = crystal(5)
    guests = guests_of([host])
    change = np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])
    skewed = Crystal(host.numbers, host.frac_coords @ np.linalg.inv(change), change @ host.lattice)
    expected = scores(network, [host], guests)
    torch.testing.assert_close(scores(network, [skewed], guests), expected, atol=1e-9, rtol=0)


def test_a_batch_equals_its_members(network):
    hosts = [crystal(s, n) for s, n in [(6, 3), (7, 8), (8, 1)]]
    together = scores(network, hosts, guests_of(hosts, samples=2))
    all_guests = guests_of(hosts, samples=2)
    singles = []
    for s in range(6):
        rows = all_guests.sample == s
        one = Guests(
            all_guests.numbers[rows],
            all_guests.positions[rows],
            torch.zeros(3, dtype=torch.long),
            torch.zeros(1, dtype=torch.long),
        )
        singles.append(scores(network, [hosts[s // 2]], one))
    torch.testing.assert_close(together, torch.cat(singles), atol=1e-9, rtol=0)


def test_a_cached_encoding_equals_a_recomputed_one_and_ignores_guests(network):
    host = crystal(9)
    batch = Crystals.from_list([host], dtype=torch.float64)
    encoding = network.encode(batch)
    for seed, sigma in [(0, 3.0), (1, 0.1)]:
        guests = guests_of([host], seed=seed)
        level = torch.tensor([sigma], dtype=torch.float64)
        cached = network.denoise(encoding, guests, level)
        torch.testing.assert_close(cached, network.denoise(network.encode(batch), guests, level), atol=0, rtol=0)


def test_an_empty_host_works_beside_a_full_one(network):
    empty = Crystal([], np.zeros((0, 3)), np.eye(3) * 4.0)
    hosts = [empty, crystal(1)]
    together = scores(network, hosts, guests_of(hosts))
    alone = guests_of(hosts)
    first = Guests(alone.numbers[:3], alone.positions[:3], alone.sample[:3], alone.host[:1])
    torch.testing.assert_close(together[:3], scores(network, [empty], first), atol=1e-9, rtol=0)
    assert together.isfinite().all()


def test_an_isolated_guest_feels_nothing(network):
    empty = Crystal([], np.zeros((0, 3)), np.eye(3) * 40.0)
    guests = guests_of([empty], per_host=1)
    assert scores(network, [empty], guests).abs().max() == 0


@pytest.mark.parametrize("distance", [5.0, 6.0])
def test_scores_are_smooth_at_the_cutoffs(network, distance):
    """A guest that crosses the cutoff of a host atom (5 A) or of another guest (6 A) changes nothing abruptly."""
    lattice = np.eye(3) * 30.0
    host = Crystal([25, 8], np.array([[0.5, 0.5, 0.5], [0.53, 0.52, 0.45]]), lattice)
    values = []
    for x in distance + np.linspace(-2e-3, 2e-3, 5):
        places = [[15.0 - x, 15.0, 15.0]]
        if distance == 6.0:  # a second guest, x away from the first, far from the host
            places = [[6.0, 15.0, 15.0], [6.0 + x, 15.0, 15.0]]
        n = len(places)
        guests = Guests(
            torch.full((n,), 3), torch.tensor(places).double(), torch.zeros(n).long(), torch.zeros(1).long()
        )
        values.append(scores(network, [host], guests)[0])
    steps = torch.stack(values).diff(dim=0).norm(dim=1)
    assert steps.max() < 1e-2
    assert (steps.max() - steps.min()) < 0.2 * steps.max() + 1e-6


def test_scores_stay_finite_on_top_of_a_host_atom(network):
    host = crystal(1)
    guests = guests_of([host])
    on_top = guests.at(torch.tensor(host.positions[:3]))
    assert scores(network, [host], on_top).isfinite().all()
