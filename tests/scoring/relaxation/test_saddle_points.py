"""Relaxations do not end where only symmetry, or a flat top, holds the guest."""

from itertools import product

import numpy as np
import pytest
from example_hosts import PRUSSIAN_BLUE
from real_crystals import intercalated

from inpaint_hpc.crystals.symmetry import site_orbit
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

SITE_8C = np.array([0.25] * 3)
SAME_ENERGY, SAME_PLACE = 5e-3, 0.1  # eV, A


def with_sodium(*positions):
    return PRUSSIAN_BLUE.with_guests([11] * len(positions), positions)


def energy(result):
    return result.energy_per_atom * len(result.crystal)


def lowest_by_scan(host, number, points):
    """The lowest energy of one guest in the frozen host, relaxed from a grid of points^3 positions."""
    axis = (np.arange(points) + 0.5) / points
    grid = np.array(list(product(axis, repeat=3)))
    grid = grid[~invalid_samples(host, [number], grid[:, None]).invalid]
    placed = [host.with_guests([number], [position]) for position in grid]
    # Positions of one energy are equivalent by symmetry.
    _, different = np.unique(evaluate(placed, what="e").energies.numpy().round(3), return_index=True)
    settings = RelaxSettings(fmax=0.005, displacement=0.0)
    return min(energy(r) for r in relax([placed[k] for k in different], 1, settings) if r.converged)


@pytest.fixture(scope="module")
def held_and_free():
    """From a site whose symmetry lets no force act, and from two next to it, in another order."""
    starts = [SITE_8C, 1 - SITE_8C + [0.001, -0.002, 0.001], SITE_8C + [0.003, 0.0, -0.002]]
    crystals = [with_sodium(start) for start in starts]
    return [relax(crystals, 1, RelaxSettings(displacement=d)) for d in (0.0, 0.05)]


def test_a_guest_leaves_a_saddle_point_for_the_lowest_minimum(held_and_free):
    held, free = held_and_free
    lowest = lowest_by_scan(PRUSSIAN_BLUE, 11, 6)
    orbit = site_orbit(PRUSSIAN_BLUE, free[0].crystal.frac_coords[-1], tol=0.01)
    for before, after in zip(held, free, strict=True):
        assert before.converged and before.steps == 0
        assert after.converged and after.steps > 0 and after.reason.endswith("past a saddle point")
        assert after.energy_per_atom_before == before.energy_per_atom
        assert energy(before) - energy(after) > 0.1 and energy(after) < lowest + 0.01
        assert abs(energy(after) - energy(free[0])) < SAME_ENERGY
        apart = PeriodicCell(PRUSSIAN_BLUE.lattice).vectors(orbit - after.crystal.frac_coords[-1])
        assert np.linalg.norm(apart, axis=-1).min() < SAME_PLACE
        assert np.array_equal(after.crystal.frac_coords[:-1], PRUSSIAN_BLUE.frac_coords)


def test_other_structures_do_not_matter(held_and_free):
    (alone,) = relax([with_sodium(SITE_8C)], 1)
    assert alone.steps == held_and_free[1][0].steps
    np.testing.assert_allclose(alone.crystal.frac_coords, held_and_free[1][0].crystal.frac_coords, atol=1e-3)


def test_several_guests_leave_together():
    (held,), (free,) = (
        relax([with_sodium(SITE_8C, 1 - SITE_8C)], 2, RelaxSettings(displacement=d)) for d in (0.0, 0.05)
    )
    assert held.steps == 0 and free.converged and energy(held) - energy(free) > 0.2


def test_a_minimum_stays_as_it_is():
    crystals, counts = intercalated(4, 0.15)
    plain, examined = (relax(crystals, counts, RelaxSettings(fmax=0.02, displacement=d)) for d in (0.0, 0.05))
    same = [np.array_equal(a.crystal.positions, b.crystal.positions) for a, b in zip(plain, examined, strict=True)]
    assert sum(same) >= 3
    assert all(energy(b) <= energy(a) for a, b in zip(plain, examined, strict=True))


@pytest.mark.slow
def test_with_a_free_cell_as_well():
    starts = [with_sodium(SITE_8C), with_sodium(SITE_8C + [0.0015, -0.0006, 0.002])]
    held = relax(starts, 1, RelaxSettings("cell", displacement=0.0))
    free = relax(starts, 1, RelaxSettings("cell"))
    assert all(r.converged for r in (*held, *free))
    assert min(map(energy, held)) - max(map(energy, free)) > 0.1
    assert abs(energy(free[0]) - energy(free[1])) < SAME_ENERGY


def test_where_nothing_is_relaxed_nothing_is_displaced():
    crystal = with_sodium(SITE_8C)
    (result,) = relax([crystal], 1, RelaxSettings(max_steps=0))
    assert result.crystal is crystal
