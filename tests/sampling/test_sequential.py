"""Guests one after another, and samples that start from given positions."""

import numpy as np
import pytest
import torch
from analytic_networks import SiteNetwork

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample
from inpaint_hpc.sampling.sequential import guest_steps, sequential_nfe

CELL = np.diag([8.0, 7.0, 9.0])
ANCHOR = Crystal([8], [[0.1, 0.2, 0.3]], CELL, "anchor")


class Crowd:
    """Says that everything is well placed; remembers hosts and guests."""

    sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64

    def __init__(self):
        self.hosts, self.asked = [], []

    def encode(self, hosts):
        self.hosts.append(hosts)
        return hosts

    def denoise(self, encoding, guests, sigma):
        self.asked.append((guests, float(sigma[0])))
        return torch.zeros_like(guests.positions)


def test_each_placed_guest_becomes_host_and_all_are_refined_together():
    network = Crowd()
    settings = SamplingSettings(samples=3, steps=40, strategy="sequential", edge_budget=10**6)
    (result,) = sample(network, [Task(ANCHOR, [3, 3, 11])], settings)
    sizes = [sorted(set(hosts.counts.tolist())) for hosts in network.hosts]
    assert sizes == [[1], [2], [3], [1]]
    per_stage = guest_steps(40, 3)
    assert per_stage == 10 and result.nfe == sequential_nfe(settings, 3) == 40 == len(network.asked)
    together = network.asked[30:]
    assert [len(guests.numbers) for guests, _ in network.asked] == [3] * 30 + [9] * 10
    assert together[0][1] == 0.5 and together[-1][1] == pytest.approx(0.03)
    # The hosts of the last guests hold what was placed, sodium and lithium in an order of their own.
    orders = {tuple(sorted(numbers.tolist())) for numbers in network.hosts[2].numbers.split(3)}
    assert orders <= {(3, 3, 8), (3, 8, 11)}
    assert result.frac_coords.shape == (3, 3, 3) and np.array_equal(result.indices, [0, 1, 2])


def test_sequential_samples_do_not_depend_on_their_batch():
    network = SiteNetwork({8: 1.0, 3: 0.5, 11: 0.5}, 0.3)
    settings = SamplingSettings(steps=30, strategy="sequential", seed=3)
    other = Crystal([8], [[0.4, 0.1, 0.3]], np.eye(3) * 9.0, "other")
    tasks = [Task(ANCHOR, [3, 3]), Task(other, [3, 11, 11]), Task(ANCHOR, [3])]
    together = sample(network, tasks, settings, first_sample=[0, 2, 0], samples=[4, 3, 2])
    assert [len(found) for found in together] == [4, 3, 2]
    (alone,) = sample(network, [tasks[1]], settings, first_sample=3, samples=2)
    assert alone.frac_coords == pytest.approx(together[1].frac_coords[1:], abs=1e-9)
    (one,) = sample(network, [tasks[0]], settings, first_sample=2, samples=1)
    assert one.frac_coords == pytest.approx(together[0].frac_coords[2:3], abs=1e-9)
    assert not np.allclose(together[0].frac_coords[0], together[0].frac_coords[1])


def test_sequential_needs_host_atoms():
    empty = Crystal([], np.zeros((0, 3)), CELL, "nothing")
    with pytest.raises(InputError, match="nothing: the sequential strategy needs host atoms"):
        sample(Crowd(), [Task(empty, [3, 3])], SamplingSettings(strategy="sequential"))


def test_samples_start_from_given_positions_and_return_to_the_site():
    network = SiteNetwork({8: 0.99, 16: 0.01}, 0.05)
    host = Crystal([8, 16], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], CELL, "two")
    site = (host.positions[1] + np.array([0.7, -0.4, 0.3])) @ np.linalg.inv(CELL)
    settings = SamplingSettings(samples=200, steps=30, sigma_max=0.3)
    (found,) = sample(network, [Task(host, [3])], settings, start=[np.tile(site, (200, 1, 1))])
    away = (found.frac_coords[:, 0] - site + 0.5) % 1.0 - 0.5
    # The site that is chosen once in a hundred times is kept, because the noise is small.
    assert np.linalg.norm(away @ CELL, axis=1).max() < 0.5
    (free,) = sample(network, [Task(host, [3])], SamplingSettings(samples=200, steps=30))
    away = (free.frac_coords[:, 0] - site + 0.5) % 1.0 - 0.5
    assert (np.linalg.norm(away @ CELL, axis=1) < 0.5).mean() < 0.1


def test_the_starting_noise_has_the_largest_level():
    network = Crowd()
    start = np.full((300, 1, 3), 0.5)
    settings = SamplingSettings(samples=300, steps=10, sigma_max=0.4, edge_budget=10**6)
    sample(network, [Task(ANCHOR, [3])], settings, start=[start])
    first = torch.cat([guests.positions for guests, sigma in network.asked if sigma == 0.4])
    assert len(first) == 300
    assert (first - torch.tensor(0.5 * CELL.sum(0))).std().item() == pytest.approx(0.4, rel=0.06)


def test_starting_positions_must_fit():
    with pytest.raises(InputError, match="starting positions must be 2 x 1 x 3"):
        sample(Crowd(), [Task(ANCHOR, [3])], SamplingSettings(samples=2), start=[np.zeros((1, 1, 3))])
    with pytest.raises(InputError, match="takes no starting positions"):
        settings = SamplingSettings(samples=1, strategy="sequential")
        sample(Crowd(), [Task(ANCHOR, [3])], settings, start=[np.zeros((1, 1, 3))])
