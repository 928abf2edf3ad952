"""Neighbour queries in periodic cells, against all distances."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.periodic_points import PeriodicPoints


def skewed_cell(rng):
    while True:
        lattice = rng.normal(size=(3, 3)) * rng.uniform(2.0, 9.0, size=(3, 1))
        if abs(np.linalg.det(lattice)) > 0.2 * np.linalg.norm(lattice, axis=1).prod():
            return lattice + lattice[[1, 2, 0]]  # not reduced


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 6.0))
def test_all_pairs_are_found_with_their_images(seed, reach):
    rng = np.random.default_rng(seed)
    cell = PeriodicCell(skewed_cell(rng))
    points, queries = rng.normal(size=(7, 3)) * 3, rng.normal(size=(5, 3)) * 3
    rows, index, vectors = PeriodicPoints(cell, points, reach).pairs(queries)
    # Brute force over so many images of the reduced cell that none within reach is left out.
    span = int(np.ceil(reach * np.linalg.norm(np.linalg.inv(cell.reduced), axis=0).max())) + 1
    shifts = np.array(np.meshgrid(*[range(-span, span + 1)] * 3)).reshape(3, -1).T @ cell.reduced
    expected = 0
    for q in range(5):
        for p in range(7):
            images = cell.vectors(points[p] - queries[q]) + shifts
            lengths = np.linalg.norm(images, axis=1)
            near = np.sort(lengths[lengths <= reach])
            found = np.sort(np.linalg.norm(vectors[(rows == q) & (index == p)], axis=1))
            expected += len(near)
            assert np.allclose(found, near, atol=1e-9)
    assert len(rows) == expected
    again = PeriodicPoints(cell, points, reach).distances(queries)
    assert np.array_equal(again[0], rows) and np.array_equal(again[1], index)
    assert np.allclose(again[2], np.linalg.norm(vectors, axis=1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 6.0))
def test_nearest_is_the_nearest(seed, reach):
    rng = np.random.default_rng(seed)
    cell = PeriodicCell(skewed_cell(rng))
    points, queries = rng.normal(size=(7, 3)) * 3, rng.normal(size=(5, 3)) * 3
    index, distances, vectors = PeriodicPoints(cell, points, reach).nearest(queries)
    exact = cell.distances(queries, points)
    near = exact.min(axis=1) <= reach
    assert np.array_equal(index >= 0, near)
    assert np.array_equal(index[near], exact.argmin(axis=1)[near])
    assert np.allclose(distances[near], exact.min(axis=1)[near])
    assert np.allclose(np.linalg.norm(vectors[near], axis=1), distances[near])
    assert np.isinf(distances[~near]).all()
