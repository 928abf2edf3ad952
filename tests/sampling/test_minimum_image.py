"""Minimum-image geometry against pymatgen and against a sum over many images."""

import numpy as np
import pytest
from pymatgen.core import Lattice

from inpaint_hpc.sampling.minimum_image import PeriodicCell

SKEWED = np.array([[3.0, 0.0, 0.0], [13.7, 2.5, 0.0], [-8.2, 11.1, 4.0]])


RNG = np.random.default_rng(5)
LATTICES = [SKEWED] + [
    Lattice.from_parameters(*RNG.uniform(2.5, 9.0, 3), *RNG.uniform(65.0, 115.0, 3)).matrix for _ in range(10)
]


@pytest.mark.parametrize("lattice", LATTICES)
def test_distances_equal_pymatgen(lattice):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, 3, (6, 3)), rng.uniform(-3, 3, (7, 3))
    expected = Lattice(lattice).get_all_distances(a, b)
    cell = PeriodicCell(lattice)
    np.testing.assert_allclose(cell.distances(a, b), expected, atol=1e-9)
    for limit in (0.3, 1.0, 4.0):
        np.testing.assert_array_equal(cell.within(a, b, limit), expected <= limit)


@pytest.mark.parametrize("lattice", LATTICES)
def test_vectors_differ_by_lattice_vectors(lattice):
    difference = np.random.default_rng(1).uniform(-4, 4, (20, 3))
    vectors = PeriodicCell(lattice).vectors(difference)
    shift = (difference @ lattice - vectors) @ np.linalg.inv(lattice)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-8)


@pytest.mark.parametrize("lattice", LATTICES)
def test_shortest_lattice_vector(lattice):
    steps = np.array(np.meshgrid(*[np.arange(-9, 10)] * 3)).reshape(3, -1).T
    lengths = np.linalg.norm(steps[(steps != 0).any(axis=1)] @ lattice, axis=1)
    assert PeriodicCell(lattice).shortest == pytest.approx(lengths.min())


def test_batches_broadcast():
    rng = np.random.default_rng(2)
    samples, host = rng.random((4, 5, 3)), rng.random((6, 3))
    cell = PeriodicCell(SKEWED)
    together = cell.distances(samples, host)
    assert together.shape == (4, 5, 6)
    np.testing.assert_allclose(together[2], cell.distances(samples[2], host))


@pytest.mark.parametrize("lattice", [*LATTICES, 4.0 * np.eye(3), 2.0 * (1.0 - np.eye(3)), 2.0 - 4.0 * np.eye(3)])
def test_vectors_are_those_of_a_search_among_all_images_to_the_last_bit(lattice):
    """Points with several shortest images included: of those the first one counts."""
    cell, rng = PeriodicCell(lattice), np.random.default_rng(2)
    for frac in (rng.uniform(-2, 2, (300, 3)), rng.integers(-8, 9, (300, 3)) / 8, rng.integers(-6, 7, (300, 3)) / 6):
        wrapped = frac @ cell._to_reduced
        plain = (wrapped - np.round(wrapped)) @ cell.reduced
        far = np.flatnonzero(np.einsum("ij,ij->i", plain, plain) > 0.25 * cell.shortest**2)
        images = plain[far, None] + cell._images
        plain[far] = images[np.arange(len(far)), np.einsum("ijk,ijk->ij", images, images).argmin(axis=1)]
        assert cell.vectors(frac).tobytes() == plain.tobytes()
        lengths = np.linalg.norm(plain, axis=1)
        assert cell.distances(np.zeros((1, 3)), frac)[0].tobytes() == lengths.tobytes()
        for limit in (0.2, 1.0, 3.0):
            near = cell.distances(np.zeros((1, 3)), frac, limit)[0]
            assert np.array_equal(near <= limit, lengths <= limit)
            assert near[near <= limit].tobytes() == lengths[lengths <= limit].tobytes()
