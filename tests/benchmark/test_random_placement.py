"""What an oracle, a blurred oracle and chance score."""

import numpy as np
import pytest
from scored_tasks import SITES, SPINEL, WRONG, record

from inpaint_hpc.benchmark.random_placement import chance_of, random_valid, seeded, with_chance
from inpaint_hpc.benchmark.score import score_record, summary
from inpaint_hpc.crystals.symmetry import site_orbit
from inpaint_hpc.sampling.contact_distances import contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.placement_distances import STOL


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_true_sites_are_right_also_shifted_by_a_tenth_of_an_angstrom(shift):
    directions = np.random.default_rng(0).normal(size=(8, 2, 3))
    moved = shift * directions / np.linalg.norm(directions, axis=-1, keepdims=True) @ np.linalg.inv(SPINEL.lattice)
    (row,) = summary([score_record(record(1, SITES + moved, SITES + moved))])
    assert row["one_sample"] == row["top1"] == row["any_k"] == 1.0
    assert row["guest_rmsd_median"] == pytest.approx(shift, abs=1e-6)


def test_chance_is_the_share_of_the_free_space():
    """One guest: the volume within the limit of a site, over the volume where a guest has room."""
    points = np.random.default_rng(1).random((40_000, 3))
    cell = PeriodicCell(SPINEL.lattice)
    room = cell.distances(points, SPINEL.frac_coords) >= contact_radii([3])[0] + contact_radii(SPINEL.numbers)
    points = points[room.all(axis=1)]
    limit = STOL * (SPINEL.volume / (len(SPINEL) + 1)) ** (1 / 3)
    expected = (cell.distances(points, site_orbit(SPINEL, SITES[0])).min(axis=1) <= limit).mean()
    task = record(7, [WRONG], [WRONG], guests=(3,))
    found = chance_of(task, 400)
    assert 0.0 < expected < 1.0 and abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)
    assert chance_of(task, 400) == found  # the task decides the placements
    (scored,) = with_chance([score_record(task)], [task], 400)
    (row,) = summary([scored])
    assert row["chance"] == found and "les" not in row


def test_where_nothing_fits_nothing_is_placed():
    packed = record(1, [], [], guests=(55, 55))
    assert random_valid(SPINEL, 55, 20, 3, seeded("x")) == []
    assert chance_of(packed, 5) is not None and chance_of(record(2, [], [], guests=(3, 11)), 5) is None
