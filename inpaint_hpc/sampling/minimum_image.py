"""Shortest vectors between points of a periodic cell, exact for any cell shape."""

from __future__ import annotations

from itertools import product

import numpy as np


class PeriodicCell:
    """Minimum-image geometry of one cell.

    The cell is replaced by its Minkowski-reduced equivalent (ASE): there the shortest image of a vector wrapped into
    [-1/2, 1/2] is among the 27 nearest cells, which does not hold for skewed cells as found in files.

    Args:
        lattice: rows a, b, c in A, (3, 3).

    Attributes:
        lattice: as given, float64.
        reduced: Minkowski-reduced rows in A, shortest first, (3, 3).
        shortest: length of the shortest lattice vector in A; every atom has an image of itself at this distance.
    """

    def __init__(self, lattice: np.ndarray) -> None:
        from ase.geometry.minkowski_reduction import minkowski_reduce

        self.lattice = np.asarray(lattice, dtype=np.float64).reshape(3, 3)
        self.reduced = np.asarray(minkowski_reduce(self.lattice)[0])
        self._to_reduced = self.lattice @ np.linalg.inv(self.reduced)
        self._images = np.array(list(product((-1, 0, 1), repeat=3))) @ self.reduced
        self.shortest = float(np.linalg.norm(self.reduced, axis=1).min())
        # Half the smallest distance between opposite faces of the reduced cell.
        self._inradius = 0.5 / float(np.linalg.norm(np.linalg.inv(self.reduced), axis=0).max())

    def vectors(self, frac_difference: np.ndarray) -> np.ndarray:
        """Shortest Cartesian vectors in A, (..., 3), equal to fractional differences (..., 3) up to lattice vectors."""
        frac = np.asarray(frac_difference, dtype=np.float64) @ self._to_reduced
        vectors = ((frac - np.round(frac)) @ self.reduced).reshape(-1, 3)
        # A vector of at most half the shortest lattice vector has no shorter image: most need no search.
        far = np.flatnonzero(np.einsum("ij,ij->i", vectors, vectors) > 0.25 * self.shortest**2)
        for part in np.array_split(far, max(1, len(far) // 200_000)):
            images = vectors[part, None] + self._images
            nearest = np.einsum("ijk,ijk->ij", images, images).argmin(axis=1)
            vectors[part] = images[np.arange(len(part)), nearest]
        return vectors.reshape(frac.shape)

    def distances(self, frac_a: np.ndarray, frac_b: np.ndarray) -> np.ndarray:
        """Minimum-image distances in A between points (..., n, 3) and points (..., m, 3): (..., n, m)."""
        difference = np.asarray(frac_b)[..., None, :, :] - np.asarray(frac_a)[..., :, None, :]
        return np.linalg.norm(self.vectors(difference), axis=-1)

    def within(self, frac_a: np.ndarray, frac_b: np.ndarray, limit: float) -> np.ndarray:
        """Which of points (..., n, 3) and points (..., m, 3) are at most `limit` A apart: bool (..., n, m)."""
        if limit > self._inradius:
            return self.distances(frac_a, frac_b) <= limit
        # A vector no longer than this lies inside the wrapped cell: the wrapped vector is it, or there is none.
        frac_a, frac_b = np.asarray(frac_a) @ self._to_reduced, np.asarray(frac_b) @ self._to_reduced
        difference = frac_b[..., None, :, :] - frac_a[..., :, None, :]
        difference -= np.round(difference)
        vectors = difference @ self.reduced
        return np.einsum("...i,...i->...", vectors, vectors) <= limit**2
