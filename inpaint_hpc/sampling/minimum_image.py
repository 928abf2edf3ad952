"""Shortest vectors between points of a periodic cell, exact for any cell shape."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

_CENTRE = 13  # of the 27 nearest cells, the cell itself


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
        self.lattice = np.asarray(lattice, dtype=np.float64).reshape(3, 3)
        found = _geometry(self.lattice.tobytes())
        self.reduced, self._to_reduced, self._images, self._halfway, self.shortest, self._inradius = found

    def vectors(self, frac_difference: np.ndarray, limit: float = np.inf) -> np.ndarray:
        """Shortest Cartesian vectors in A, (..., 3), equal to fractional differences (..., 3) up to lattice vectors.

        In place of those longer than `limit` A others may come, also longer than it; a small limit saves the search.
        """
        frac = np.asarray(frac_difference, dtype=np.float64) @ self._to_reduced
        vectors = ((frac - np.round(frac)) @ self.reduced).reshape(-1, 3)
        if limit <= self._inradius:
            return vectors.reshape(frac.shape)
        # A vector of at most half the shortest lattice vector has no shorter image: most need no search.
        far = np.flatnonzero(np.einsum("ij,ij->i", vectors, vectors) > 0.25 * self.shortest**2)
        for part in np.array_split(far, max(1, len(far) // 200_000)):
            here = vectors[part] + self._images[_CENTRE]
            # Of others only those halfway to a lattice point or beyond, on it or nearly so included.
            beyond = (np.abs(self._images[_CENTRE + 1 :] @ here.T) > self._halfway[:, None]).any(axis=0)
            images = here[beyond, None] + self._images
            nearest = np.einsum("ijk,ijk->ij", images, images).argmin(axis=1)
            here[beyond] = images[np.arange(len(images)), nearest]
            vectors[part] = here
        return vectors.reshape(frac.shape)

    def distances(self, frac_a: np.ndarray, frac_b: np.ndarray, limit: float = np.inf) -> np.ndarray:
        """Minimum-image distances in A between points (..., n, 3) and points (..., m, 3): (..., n, m).

        Those beyond `limit` A may come out longer than they are.
        """
        difference = np.asarray(frac_b)[..., None, :, :] - np.asarray(frac_a)[..., :, None, :]
        # A norm over an axis of three is slow.
        x, y, z = np.moveaxis(self.vectors(difference, limit), -1, 0)
        return np.sqrt(x**2 + y**2 + z**2)

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


@lru_cache(maxsize=1024)
def _geometry(lattice: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Reduced rows, the way to them, 27 images, how far is halfway to half of these, shortest vector and inradius of a
    cell; remembered, for every step of a host's analysis asks for its cell."""
    from ase.geometry.minkowski_reduction import minkowski_reduce

    rows = np.frombuffer(lattice).reshape(3, 3).copy()
    reduced = np.asarray(minkowski_reduce(rows)[0])
    inverse = np.linalg.inv(reduced)
    images = np.array(list(product((-1, 0, 1), repeat=3))) @ reduced
    # The others are the negatives of these.
    squares = (images[_CENTRE + 1 :] ** 2).sum(axis=1)
    return (
        reduced,
        rows @ inverse,
        images,
        0.5 * squares - 1e-9 * squares.max(),
        float(np.linalg.norm(reduced, axis=1).min()),
        # Half the smallest distance between opposite faces of the reduced cell.
        0.5 / float(np.linalg.norm(inverse, axis=0).max()),
    )
