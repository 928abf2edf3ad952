"""Occupation spaces without a host that matters: sites on a chain or a cubic grid, with their whole symmetry."""

import itertools

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sites.site_network import Orbit, SiteNetwork

EDGE = 3.0  # A between neighbouring sites


def chain(n_sites, number=3, reflections=True, spacing=EDGE, names=None):
    """Sites along z at equal distances, all of one orbit: translations and, if asked for, reflections."""
    lattice = np.diag([12.0, 12.0, n_sites * spacing])
    host = Crystal([8], [[0.5, 0.5, 0.0]], lattice, "chain")
    frac = np.zeros((n_sites, 3))
    frac[:, 2] = np.arange(n_sites) / n_sites
    rotations, translations = [], []
    for sign in (1, -1) if reflections else (1,):
        for k in range(n_sites):
            rotations.append(np.diag([1, 1, sign]))
            translations.append([0, 0, k / n_sites])
    orbit = Orbit(frac, f"{n_sites}a", 1.0, 0.1, {})
    return SiteNetwork(host, number, (orbit,), 0.1, np.array(rotations), np.array(translations), 10, True)


def grid(n, number=3, spacing=EDGE):
    """n x n x n sites on a cubic grid: translations and the 48 operations of the cube."""
    host = Crystal([8], [[0.5 / n, 0.5 / n, 0.5 / n]], np.eye(3) * n * spacing, "grid")
    frac = np.array(list(itertools.product(range(n), repeat=3))) / n
    rotations, translations = [], []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            rotation = np.zeros((3, 3), dtype=np.int64)
            rotation[range(3), order] = signs
            for shift in frac:
                rotations.append(rotation)
                translations.append(shift)
    orbit = Orbit(frac, "a", 1.0, 0.1, {})
    return SiteNetwork(host, number, (orbit,), 0.1, np.array(rotations), np.array(translations), 10, True)


def scattered(n_sites, number=3, seed=0, edge=9.0, occupancies=None):
    """Sites anywhere in a box, without symmetry, every site an orbit."""
    rng = np.random.default_rng(seed)
    host = Crystal([8], [[0.0, 0.0, 0.0]], np.eye(3) * edge, "box")
    occupancies = np.full(n_sites, 1 / n_sites) if occupancies is None else occupancies
    orbits = tuple(Orbit(rng.random((1, 3)), "1", float(o), 0.1, {}) for o in occupancies)
    return SiteNetwork(host, number, orbits, 0.0, np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), 10, True)
