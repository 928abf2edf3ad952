"""Distances of placements: against brute force, against pymatgen, and where the answer is known."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

import inpaint_hpc
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.symmetry import site_orbit, symmetry_operations
from inpaint_hpc.sampling.placement_distances import FARTHEST, STOL, compare_placements

HOSTS = read_hosts(Path(inpaint_hpc.__file__).parent / "examples" / "mno2")
SPINEL = next(host for host in HOSTS if host.name.startswith("lambda"))
ON_8A = np.array([[0.125] * 3, [0.875] * 3])


def by_brute_force(host, reference, placement):
    """Least root mean square over operations, permutations and images, and the largest distance with it."""
    rotations, translations = symmetry_operations(host, 0.1)
    images = np.array(list(product((-1, 0, 1), repeat=3)))
    best = (np.inf, np.inf)
    for rotation, translation in zip(rotations, translations, strict=True):
        moved = reference @ rotation.T + translation
        for order in permutations(range(len(reference))):
            difference = placement[list(order)] - moved
            difference -= np.round(difference)
            vectors = (difference[:, None] + images) @ host.lattice
            squares = (vectors**2).sum(axis=-1).min(axis=1)
            best = min(best, (np.sqrt(squares.mean()), np.sqrt(squares.max())))
    return best


def test_distances_are_the_least_over_permutations_images_and_symmetry():
    rng = np.random.default_rng(0)
    shifts = rng.normal(0, 0.15, (12, 2, 3)) @ np.linalg.inv(SPINEL.lattice)
    placements = ON_8A[::-1] + shifts + rng.integers(-2, 3, (12, 2, 3))
    found = compare_placements(SPINEL, [3, 3], ON_8A, placements)
    for k, placement in enumerate(placements):
        rmsd, largest = by_brute_force(SPINEL, ON_8A, placement)
        # The host is symmetric to 1e-4; displacements are turned back into its frame.
        assert found.rmsd[k] == pytest.approx(rmsd, abs=1e-3)
        assert found.largest[k] == pytest.approx(largest, abs=1e-3)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_the_right_sites_and_what_is_a_little_away_are_right(host):
    rng = np.random.default_rng(1)
    site = rng.random(3)
    orbit = site_orbit(host, site, 0.1, 0.5)
    direction = rng.normal(size=(len(orbit), 3))
    away = 0.1 * direction / np.linalg.norm(direction, axis=1)[:, None]
    shifted = orbit + away @ np.linalg.inv(host.lattice)
    for placements, expected in ((orbit, 0.0), (shifted, 0.1)):
        found = compare_placements(host, [3], orbit[:1], placements[:, None])
        assert found.right.all() and found.rmsd == pytest.approx(expected, abs=0.06)


def test_random_places_are_right_as_often_as_their_share_of_the_cell():
    count = 5_000
    placements = np.random.default_rng(2).random((count, 1, 3))
    found = compare_placements(SPINEL, [3], ON_8A[:1], placements)
    assert found.limit == pytest.approx(STOL * (SPINEL.volume / (len(SPINEL) + 1)) ** (1 / 3))
    share = 2 * 4 / 3 * np.pi * found.limit**3 / SPINEL.volume  # two sites, whose spheres do not touch
    assert abs(found.right.mean() - share) < 4 * np.sqrt(share / count)
    near = np.isfinite(found.rmsd)
    assert (found.rmsd[near] <= 1.001 * FARTHEST).all() and not found.right[~near].any()


def test_the_verdict_is_that_of_pymatgen_but_near_the_limit():
    matcher = StructureMatcher(ltol=0.2, stol=0.2)
    rng = np.random.default_rng(3)
    target = SPINEL.with_guests([3, 3], ON_8A).to_structure()
    placements = ON_8A + rng.normal(0, 0.25, (60, 2, 3)) @ np.linalg.inv(SPINEL.lattice)
    found = compare_placements(SPINEL, [3, 3], ON_8A, placements)
    for k, placement in enumerate(placements):
        if abs(found.largest[k] - found.limit) > 0.25 * found.limit:
            fits = matcher.fit(target, SPINEL.with_guests([3, 3], placement).to_structure())
            assert found.right[k] == bool(fits), (found.largest[k], found.limit)
    assert 10 < found.right.sum() < 50


def test_what_is_no_number_is_nowhere():
    found = compare_placements(SPINEL, [3], ON_8A[:1], np.array([[[np.nan] * 3], [[0.125] * 3]]))
    assert found.rmsd.tolist() == [np.inf, pytest.approx(0.0, abs=1e-6)] and found.right.tolist() == [False, True]
    assert len(compare_placements(SPINEL, [3], ON_8A[:1], np.zeros((0, 1, 3))).rmsd) == 0
