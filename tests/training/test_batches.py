"""Masks and batches: the mixture asked for, exact targets, and the same batch for the same key."""

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.training.batches import BatchSettings, make_batch, training_indices
from inpaint_hpc.training.masks import KINDS, MaskMixture, double_cell, draw_mask
from inpaint_hpc.training.wrapped_normal import scaled_score

SMOKE = "tests/data/smoke.h5"


@pytest.fixture(scope="module")
def dataset():
    return PackedDataset(SMOKE, "train")


def test_a_mask_takes_whole_species_and_prefers_guest_ions():
    numbers = np.array([3, 3, 25, 8, 8, 8])
    rng = np.random.default_rng(0)
    lithium = 0
    for _ in range(400):
        mask = draw_mask(numbers, "species", rng)
        assert len(set(numbers[mask])) == 1
        assert mask.sum() == (numbers == numbers[mask][0]).sum()
        lithium += bool(mask[0])
    assert 0.65 < lithium / 400 < 0.85  # 6 : 1 : 1


@pytest.mark.parametrize(("kind", "species"), [("part", 1), ("several", 2), ("all", 3)])
def test_kinds_of_masks(kind, species):
    numbers = np.array([3, 3, 25, 8, 8, 8])
    rng = np.random.default_rng(1)
    masks = [draw_mask(numbers, kind, rng) for _ in range(100)]
    assert all(len(set(numbers[m])) == species for m in masks)
    if kind == "part":
        assert all(0 < m.sum() < 3 for m in masks)


def test_a_doubled_cell_holds_the_same_crystal():
    numbers, frac, lattice = np.array([3, 8]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.diag([4.0, 3.0, 5.0])
    n, f, lat = double_cell(numbers, frac, lattice)
    assert np.linalg.det(lat) == pytest.approx(2 * np.linalg.det(lattice))
    assert lat[1, 1] == 6.0
    original = {(3, 0.0, 0.0, 0.0), (8, 2.0, 1.5, 2.5)}
    wrapped = {
        (int(z), *(float(v) for v in np.round((x @ lat) % [4.0, 3.0, 5.0], 6))) for z, x in zip(n, f, strict=True)
    }
    assert wrapped == original and len(n) == 4


def test_noise_and_target_belong_together(dataset):
    settings = BatchSettings(batch_size=12, host_noise_fraction=0.0)
    rows = np.arange(12)
    batch = make_batch(dataset, rows, settings, MaskMixture(1, 0, 0, 0), [0])
    assert (batch.sigma >= 0.03).all() and (batch.sigma <= 3.5).all()
    # Recover the noise from the clean crystal: guests are the atoms of the crystal that the host lacks.
    cells = batch.hosts.cells[batch.guests.crystal]
    clean = []
    for s, b in enumerate(batch.guests.host.tolist()):
        z = int(batch.guests.numbers[batch.guests.sample == s][0])
        crystal = dataset[b]
        clean.append(torch.tensor(crystal.positions[crystal.numbers == z]).float())
    level = batch.sigma[batch.guests.sample]
    expected = scaled_score(batch.guests.positions - torch.cat(clean), level, cells)
    torch.testing.assert_close(batch.target, expected, atol=1e-3, rtol=1e-3)
    assert len(batch.hosts.numbers) + sum(
        int((dataset[b].numbers == int(batch.guests.numbers[batch.guests.crystal == b][0])).sum()) for b in range(12)
    ) == sum(len(dataset[b]) for b in range(12))


def test_many_guests_get_fewer_draws(dataset):
    settings = BatchSettings(batch_size=16, guest_budget=24)
    batch = make_batch(dataset, np.arange(16), settings, MaskMixture(0, 0, 0, 1), [1])
    assert len(batch.hosts.numbers) == 0
    for b in range(16):
        draws = int((batch.guests.host == b).sum())
        assert draws == max(1, min(8, 24 // len(dataset[b])))


def test_a_batch_is_a_function_of_its_key(dataset):
    settings, masks = BatchSettings(batch_size=8), MaskMixture()
    a, b = (make_batch(dataset, np.arange(8), settings, masks, [3, 4]) for _ in range(2))
    c = make_batch(dataset, np.arange(8), settings, masks, [3, 5])
    assert torch.equal(a.guests.positions, b.guests.positions) and torch.equal(a.target, b.target)
    assert a.target.shape != c.target.shape or not torch.equal(a.target, c.target)


def test_an_epoch_visits_every_row_once_whatever_the_number_of_processes():
    n, size = 48, 4
    one = np.concatenate([training_indices(n, step, size, seed=7) for step in range(12)])
    assert sorted(one) == list(range(n))
    two = np.concatenate([training_indices(n, s, size, 7, rank, 2) for s in range(6) for rank in range(2)])
    assert (two == one).all()
    second = np.concatenate([training_indices(n, step, size, seed=7) for step in range(12, 24)])
    assert sorted(second) == list(range(n)) and (second != one).any()


def test_mask_fractions_are_normalised_and_checked():
    assert MaskMixture(2, 1, 1, 0).probabilities() == pytest.approx([0.5, 0.25, 0.25, 0])
    with pytest.raises(ValueError, match="not all zero"):
        MaskMixture(0, 0, 0, 0).probabilities()
    assert len(KINDS) == 4
