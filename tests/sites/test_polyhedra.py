"""Surroundings of textbook sites in words, and the symmetry measure against all assignments of corners."""

from itertools import permutations

import numpy as np
import pytest
from ase.data import atomic_numbers
from textbook_sites import TEXTBOOK

from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.coordination import LOOK, Shell, shells
from inpaint_hpc.sites.periodic_points import PeriodicPoints
from inpaint_hpc.sites.polyhedra import _measure, _shapes, environment, shape

SHAPES = [(n, name) for n, shapes in _shapes().items() for name in shapes]


def shell_of(vectors, numbers=None):
    vectors = np.asarray(vectors, dtype=float)
    numbers = np.full(len(vectors), 8) if numbers is None else np.array(numbers)
    return Shell(numbers, vectors, np.linalg.norm(vectors, axis=1) / 1.5, None)


def turned(corners, rng):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # or a mirror: no shape is chiral
    return rng.permutation(corners) @ turn


@pytest.mark.parametrize("known", TEXTBOOK, ids=lambda known: known.name)
def test_textbook_sites(known):
    host, site = known.host_and_site()
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    (shell,) = shells(host, points, site, atomic_numbers[known.ion])
    assert shape(shell) == known.shape
    assert environment(known.ion, shell).startswith(known.ion) and environment(known.ion, shell).endswith(" A")


@pytest.mark.parametrize(("n", "name"), SHAPES)
def test_a_shape_is_itself_however_it_is_turned_and_scaled(n, name):
    rng = np.random.default_rng(n)
    for scale in (1.6, 2.9):
        corners = turned(_shapes()[n][name], rng) * scale
        assert shape(shell_of(corners + rng.normal(scale=0.02, size=corners.shape))) == name


@pytest.mark.parametrize(("n", "name"), [one for one in SHAPES if one[0] <= 6])
@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_measure_is_that_of_the_best_of_all_assignments(n, name, noise):
    rng = np.random.default_rng(1)
    ideal = _shapes()[n][name]
    corners = turned(ideal, rng) + rng.normal(scale=noise, size=ideal.shape)
    points = np.vstack([np.zeros(3), corners])
    points = points - points.mean(axis=0)
    best = 100.0
    for order in permutations(range(n)):
        target = np.vstack([np.zeros(3), ideal[list(order)]])
        target = target - target.mean(axis=0)
        stretch = np.linalg.svd(points.T @ target, compute_uv=False).sum()
        best = min(best, 100 * (1 - stretch**2 / ((points**2).sum() * (target**2).sum())))
    assert _measure(corners, ideal) == pytest.approx(best, abs=1e-9)


def test_octahedron_and_trigonal_prism_are_16_74_apart():
    """The value of S. Alvarez et al., New J. Chem. 26, 996 (2002)."""
    shapes = _shapes()[6]
    assert _measure(shapes["octahedron"], shapes["trigonal prism"]) == pytest.approx(16.737, abs=0.001)


def test_words():
    octahedron = np.vstack([np.eye(3), -np.eye(3)])
    assert environment("Li", shell_of(2.104 * octahedron)) == "LiO6 octahedron, 2.10 A"
    long_axis = np.where(octahedron[:, 2:] != 0, 2.2, 2.1) * octahedron
    assert environment("Li", shell_of(long_axis)) == "LiO6 octahedron, 2.10-2.20 A"
    assert environment("Na", shell_of(2.3 * octahedron, [8, 8, 9, 8, 8, 9])) == "NaO4F2 octahedron, 2.30 A"
    assert environment("H", shell_of([[0.97, 0, 0]])) == "HO, 0.97 A"
    assert environment("Li", shell_of([[1.9, 0, 0], [-1.9, 0, 0]])) == "LiO2, 1.90 A"
    assert environment("Li", shell_of(np.array([[1, 0, 0], [2, 0, 0], [-1, 0, 0]]))) == "LiO3, 1.00-2.00 A"
    assert environment("Li", shell_of(np.zeros((0, 3)))) == ""
