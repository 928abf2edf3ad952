"""Training examples from electrode pairs, and hosts that are not relaxed around their guests."""

import numpy as np
import pytest

from inpaint_hpc.crystals.packed import PackedDataset, canonical_reduced_formula
from inpaint_hpc.errors import InputError
from inpaint_hpc.training.batches import PAIR, BatchSettings, make_batch
from inpaint_hpc.training.examples import load_pairs, masked_example, pair_example, perturbed
from inpaint_hpc.training.masks import MaskMixture

PAIRS = "tests/data/electrodes.h5"
SMOKE = "tests/data/smoke.h5"


def test_no_host_composition_is_trained_on_and_validated_with():
    train, val = load_pairs(PAIRS, None)
    assert (len(train), len(val)) == (13, 3)

    def compositions(part):
        return {canonical_reduced_formula(p.host.numbers) for p in part}

    assert not compositions(train) & compositions(val)
    with pytest.raises(InputError, match="of at most 3 atoms"):
        load_pairs(PAIRS, 3)


def test_guests_of_a_pair_keep_their_place_in_the_empty_host():
    train, _ = load_pairs(PAIRS, None)
    several = [p for p in train if p.n_guest == 2]
    rng = np.random.default_rng(0)
    fixed = set()
    for _ in range(40):
        example = pair_example(several, 0.5, rng)
        pair = next(p for p in several if np.array_equal(p.host.lattice, example.host.lattice))
        n = len(pair.host)
        assert np.array_equal(example.host.frac_coords[:n], pair.host.frac_coords)
        everyone = np.concatenate([example.host.frac_coords[n:], example.guest_frac])
        reference = pair.reference.frac_coords[n:]
        assert sorted(map(tuple, everyone)) == sorted(map(tuple, reference))
        assert (example.guest_numbers == pair.guest_z).all() and (example.host.numbers[n:] == pair.guest_z).all()
        fixed.add(len(example.host) - n)
    assert fixed == {0, 1}


def test_perturbing_moves_the_host_and_strains_the_cell_within_bounds():
    crystal = PackedDataset(SMOKE, "train")[0]
    rng = np.random.default_rng(1)
    example = masked_example(crystal, "species", 0, rng)
    still = perturbed(example, 0.0, 0.0, rng)
    np.testing.assert_allclose(still.host.frac_coords, example.host.frac_coords, atol=1e-12)
    moved, strains = [], []
    for _ in range(200):
        other = perturbed(example, 0.2, 0.03, rng)
        assert other.guest_frac is example.guest_frac
        deformation = np.linalg.solve(example.host.lattice, other.host.lattice)
        np.testing.assert_allclose(deformation, deformation.T, atol=1e-12)
        strains.append(np.abs(deformation - np.eye(3)).max())
        moved.append((other.host.frac_coords - example.host.frac_coords) @ example.host.lattice)
    assert np.mean(strains) > 0.005 and max(strains) <= 0.03
    # The standard deviation is uniform up to 0.2 A: root mean square 0.2 / sqrt(3).
    assert np.sqrt(np.mean(np.square(moved))) == pytest.approx(0.2 / np.sqrt(3), rel=0.15)


def test_a_batch_holds_as_many_pairs_as_asked_for():
    dataset, (pairs, _) = PackedDataset(SMOKE, "train"), load_pairs(PAIRS, None)
    settings = BatchSettings(batch_size=200, draws=1, pair_fraction=0.25, host_noise_fraction=0.0)
    batch = make_batch(dataset, np.arange(200) % len(dataset), settings, MaskMixture(), [3], pairs=pairs)
    assert 0.15 < float((batch.kind == PAIR).float().mean()) < 0.35
    none = make_batch(dataset, np.arange(20), settings, MaskMixture(), [3])
    assert not (none.kind == PAIR).any()
