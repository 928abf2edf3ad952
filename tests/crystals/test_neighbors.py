"""Neighbour lists against pymatgen, on cells smaller than the cutoff and atoms outside of their cell."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inpaint_hpc.crystals import neighbors
from inpaint_hpc.crystals.batch import Crystal, Crystals
from inpaint_hpc.crystals.neighbors import crystal_neighbors, neighbor_pairs, periodic_images

CUTOFF = 5.0


def random_crystals(n=20, seed=0):
    """Triclinic cells of 2-7 A with 1-5 atoms, many of them unwrapped."""
    rng = np.random.default_rng(seed)
    result = []
    while len(result) < n:
        lattice = Lattice.from_parameters(*rng.uniform(2, 7, 3), *rng.uniform(50, 130, 3))
        if not np.isfinite(lattice.matrix).all() or lattice.volume < 8:
            continue
        count = rng.integers(1, 6)
        frac = rng.random((count, 3)) + rng.integers(-3, 4, (count, 3))
        result.append(Crystal(rng.integers(1, 90, count), frac, lattice.matrix))
    return result


def rows(receiver, sender, shift):
    return sorted(zip(receiver.tolist(), sender.tolist(), *(shift[:, k].tolist() for k in range(3)), strict=True))


def test_a_batch_of_triclinic_cells_agrees_with_pymatgen_exactly():
    crystals = random_crystals()
    batch = Crystals.from_list(crystals, dtype=torch.float64)
    found = crystal_neighbors(batch, CUTOFF)
    expected, first = [], 0
    for c in crystals:
        structure = Structure(Lattice(c.lattice), c.numbers, c.frac_coords)
        centers, points, images, _ = structure.get_neighbor_list(CUTOFF, exclude_self=True)
        expected += rows(centers + first, points + first, images.astype(int))
        first += len(c)
    assert rows(found.receiver, found.sender, found.shift) == sorted(expected)
    assert len(expected) > 2000


def test_vectors_belong_to_the_shifts_of_unwrapped_positions():
    batch = Crystals.from_list(random_crystals(5, seed=1), dtype=torch.float64)
    found = crystal_neighbors(batch, CUTOFF)
    cells = batch.cells[batch.crystal[found.receiver]]
    images = batch.positions[found.sender] + torch.einsum("ek,ekj->ej", found.shift.double(), cells)
    torch.testing.assert_close(images - batch.positions[found.receiver], found.vector, atol=1e-9, rtol=0)
    assert found.lengths.sum() == len(found)
    assert (found.receiver.diff() >= 0).all()


def test_receivers_and_senders_of_different_sets():
    """Guests around host atoms: the host-guest part of the neighbour list of the joined crystal."""
    host = random_crystals(1, seed=3)[0]
    rng = np.random.default_rng(4)
    guests = rng.random((2, 3)) @ host.lattice
    joined = Crystals.from_list([host.with_guests([3, 3], guests @ np.linalg.inv(host.lattice))], dtype=torch.float64)
    everything = crystal_neighbors(joined, CUTOFF)
    keep = (everything.receiver >= len(host)) & (everything.sender < len(host))
    zeros = torch.zeros(len(host), dtype=torch.long)
    images = periodic_images(torch.tensor(host.lattice)[None], CUTOFF)
    found = neighbor_pairs(torch.tensor(guests), torch.zeros(2).long(), torch.tensor(host.positions), zeros, images)
    expected = rows(everything.receiver[keep] - len(host), everything.sender[keep], everything.shift[keep])
    assert rows(found.receiver, found.sender, found.shift) == expected


def test_chunks_change_nothing(monkeypatch):
    batch = Crystals.from_list(random_crystals(6, seed=5), dtype=torch.float64)
    whole = crystal_neighbors(batch, CUTOFF)
    monkeypatch.setattr(neighbors, "_CHUNK", 500)
    parts = crystal_neighbors(batch, CUTOFF)
    torch.testing.assert_close(parts.vector, whole.vector, atol=0, rtol=0)
    assert torch.equal(parts.lengths, whole.lengths)


def test_an_empty_crystal_has_no_neighbors():
    empty = Crystal([], np.zeros((0, 3)), np.eye(3) * 3)
    batch = Crystals.from_list([empty, random_crystals(1)[0], empty], dtype=torch.float64)
    found = crystal_neighbors(batch, CUTOFF)
    alone = crystal_neighbors(Crystals.from_list([random_crystals(1)[0]], dtype=torch.float64), CUTOFF)
    assert len(found) == len(alone) > 0
    nothing = crystal_neighbors(Crystals.from_list([empty]), CUTOFF)
    assert len(nothing) == 0


@pytest.mark.gpu
def test_the_gpu_finds_the_same_neighbors():
    batch = Crystals.from_list(random_crystals(5), dtype=torch.float64)
    here, there = crystal_neighbors(batch, CUTOFF), crystal_neighbors(batch.to("cuda"), CUTOFF)
    assert rows(here.receiver, here.sender, here.shift) == rows(
        there.receiver.cpu(), there.sender.cpu(), there.shift.cpu()
    )
