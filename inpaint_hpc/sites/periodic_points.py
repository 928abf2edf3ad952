"""Neighbour queries among points of a periodic cell: scipy's k-d tree over the points and their nearby images."""

from __future__ import annotations

from itertools import product

import numpy as np

from inpaint_hpc.sampling.minimum_image import PeriodicCell


class PeriodicPoints:
    """Points that can be searched for those near other points.

    Args:
        cell: the periodic cell.
        frac_coords: the points, (n, 3), wrapped or not.
        reach: largest distance in A that can be searched.
    """

    def __init__(self, cell: PeriodicCell, frac_coords: np.ndarray, reach: float) -> None:
        from scipy.spatial import cKDTree

        self.cell, self.reach = cell, float(reach)
        self._to_reduced = cell.lattice @ np.linalg.inv(cell.reduced)
        frac = self._wrapped(frac_coords)
        # A sphere of this radius around a point of the cell stays within these fractions of the cell's borders.
        margin = self.reach * np.linalg.norm(np.linalg.inv(cell.reduced), axis=0) + 1e-9
        shifts = np.array(list(product(*(range(-span, span + 1) for span in np.ceil(margin).astype(int)))))
        images = frac[None] + shifts[:, None]
        inside = ((images >= -margin) & (images <= 1.0 + margin)).all(axis=2)
        self.owner = np.nonzero(inside)[1]
        self._tree = cKDTree(images[inside] @ cell.reduced)

    def pairs(self, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All points within `reach` of query points (m, 3).

        Returns:
            Row of the query and index of the point, int64 (e,), and the vector from query to point in A, (e, 3).  A
            point may come with several of its images.
        """
        queries, found = self._found(frac_coords)
        return found["i"], self.owner[found["j"]], self._tree.data[found["j"]] - queries[found["i"]]

    def distances(self, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `pairs`, but with the distance in A, (e,), in place of the vector."""
        _, found = self._found(frac_coords)
        return found["i"], self.owner[found["j"]], found["v"]

    def nearest(self, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest point of each query point (m, 3).

        Returns:
            Index of the point, -1 if none is within `reach`, int64 (m,); distance in A, infinite if none is, (m,); the
            vector from query to point in A, (m, 3).
        """
        queries = self._wrapped(frac_coords) @ self.cell.reduced
        distances, columns = self._tree.query(queries, distance_upper_bound=self.reach)
        there = np.isfinite(distances)
        index, vectors = np.full(len(queries), -1), np.full((len(queries), 3), np.nan)
        index[there] = self.owner[columns[there]]
        vectors[there] = self._tree.data[columns[there]] - queries[there]
        return index, distances, vectors

    def _found(self, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wrapped positions of the queries in A, and rows, columns and distances of all pairs within reach."""
        from scipy.spatial import cKDTree

        queries = cKDTree(self._wrapped(frac_coords) @ self.cell.reduced)
        return queries.data, queries.sparse_distance_matrix(self._tree, self.reach, output_type="ndarray")

    def _wrapped(self, frac_coords: np.ndarray) -> np.ndarray:
        frac = np.asarray(frac_coords, dtype=np.float64).reshape(-1, 3) @ self._to_reduced
        return frac - np.floor(frac)
