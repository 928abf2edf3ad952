"""Multiplicities and Wyckoff positions of many guests in one host."""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import site_orbit, wyckoff_labels
from inpaint_hpc.sampling.minimum_image import PeriodicCell

SAME_SITE = 0.2  # A; guests this close to a known site reuse its result


class WyckoffCache:
    """Caches the sites found in a host, because calling spglib for every guest of every candidate takes seconds.

    Args:
        host: the host.
        symprec: distance tolerance in A of its symmetry.
        tolerance: a guest this close to a symmetry element, in A, counts as on it.
    """

    def __init__(self, host: Crystal, symprec: float, tolerance: float) -> None:
        self.host, self.symprec, self.tolerance = host, symprec, tolerance
        self._cell = PeriodicCell(host.lattice)
        self._orbits = np.zeros((0, 3))
        self._owner = np.zeros(0, dtype=np.int64)
        self._known: list[tuple[int, str]] = []
        # Orbits of positions that were moved so far onto their site that they are near no known orbit.
        self._moved: dict[bytes, int] = {}

    def describe(self, frac_positions: np.ndarray) -> list[tuple[int, str]]:
        """Of positions (n, 3): equivalent positions in the host's own cell, and the Wyckoff position such as '8a' ('8'
        without a letter).  Many positions at once are faster than one by one: their orbits are labelled together."""
        frac_positions = np.asarray(frac_positions, dtype=np.float64).reshape(-1, 3)
        owners = self._owners(frac_positions)
        first, new = len(self._known), list[np.ndarray]()
        for row in np.flatnonzero(owners < 0).tolist():
            key = frac_positions[row].tobytes()
            owners[row] = self._moved.get(key, -1)
            # One of the positions just before may be on the same orbit.
            if owners[row] < 0 and new:
                owners[row] = self._owners(frac_positions[row][None])[0]
            if owners[row] < 0:
                orbit = site_orbit(self.host, frac_positions[row], self.symprec, self.tolerance)
                owners[row] = self._moved[key] = first + len(new)
                self._orbits = np.concatenate([self._orbits, orbit])
                self._owner = np.concatenate([self._owner, np.full(len(orbit), owners[row])])
                new.append(orbit)
        if new:
            labels = wyckoff_labels(self.host, np.array([orbit[0] for orbit in new]), self.symprec)
            self._known += [(len(orbit), str(label)) for orbit, label in zip(new, labels, strict=True)]
        return [self._known[owner] for owner in owners.tolist()]

    def _owners(self, frac_positions: np.ndarray) -> np.ndarray:
        """The known orbit that each position is on, int64 (n,); -1 for none."""
        if not len(self._orbits):
            return np.full(len(frac_positions), -1, dtype=np.int64)
        near = self._cell.within(frac_positions, self._orbits, SAME_SITE)
        return np.where(near.any(axis=1), self._owner[near.argmax(axis=1)], -1)
