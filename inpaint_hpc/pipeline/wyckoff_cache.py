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

    def describe(self, frac_position: np.ndarray) -> tuple[int, str]:
        """Equivalent positions in the host's own cell, and the Wyckoff position such as '8a' ('8' without a letter)."""
        if self._known:
            near = self._cell.distances(frac_position[None], self._orbits)[0] < SAME_SITE
            if near.any():
                return self._known[int(self._owner[near.argmax()])]
        orbit = site_orbit(self.host, frac_position, self.symprec, self.tolerance)
        label = str(wyckoff_labels(self.host, orbit[:1], self.symprec)[0])
        self._orbits = np.concatenate([self._orbits, orbit])
        self._owner = np.concatenate([self._owner, np.full(len(orbit), len(self._known))])
        self._known.append((len(orbit), label))
        return self._known[-1]
