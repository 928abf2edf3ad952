"""Placements settled by the score model."""

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.network.weights import load_network
from inpaint_hpc.orderings.denoise_placements import refine
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import Task

SITES_8A = np.array([[0.125] * 3, [0.875] * 3])


def test_guests_beside_their_sites_move_onto_them():
    network, task = load_network(None), Task(SPINEL, {"Li": 2})
    beside = SITES_8A + np.array(
        [[[0.4, 0.1, 0.0], [0.0, -0.3, 0.3]], [[0.0, 0.4, 0.1], [0.3, 0.0, -0.3]]]
    ) @ np.linalg.inv(SPINEL.lattice)
    settled = refine(network, task, beside)
    cell = PeriodicCell(SPINEL.lattice)

    def away(coords):
        return np.array([np.diag(cell.distances(one, SITES_8A)) for one in coords])

    assert away(beside).min() > 0.4 and away(settled).max() < 0.2
    alone = refine(network, task, beside[:1])
    assert alone[0] == pytest.approx(settled[0], abs=1e-4)
    assert refine(network, task, np.zeros((0, 2, 3))).shape == (0, 2, 3)
