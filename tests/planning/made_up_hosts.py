"""Crystals for tests."""

import numpy as np

from inpaint_hpc.crystals.batch import Crystal


def random_crystal(rng, n_atoms=None, name="random", numbers=(8, 22, 25)):
    """Atoms on a jittered grid, so that none are too close, in a skewed cell."""
    side = int(rng.integers(2, 4))
    n_atoms = int(rng.integers(2, side**3 + 1)) if n_atoms is None else n_atoms
    grid = np.array(np.unravel_index(rng.permutation(side**3)[:n_atoms], (side,) * 3)).T
    frac = (grid + 0.2 + 0.2 * rng.random((n_atoms, 3))) / side
    lattice = 3.0 * side * (np.eye(3) + 0.2 * np.tril(rng.standard_normal((3, 3)), -1))
    return Crystal(rng.choice(numbers, size=n_atoms), frac, lattice, name)
