"""Multiplicities and Wyckoff positions of many guests in one host."""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import (
    onto_symmetry_elements,
    orbit_under,
    symmetry_operations,
    wyckoff_labels,
)
from inpaint_hpc.sampling.minimum_image import PeriodicCell

SAME_SITE = 0.2  # A; guests whose sites are this close to a known one reuse its result
_ON_SITE = 1e-6  # A; as near as images of one position are: this one need not be moved


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
        self._owners: dict[bytes, int] = {}

    def describe(self, frac_positions: np.ndarray) -> list[tuple[int, str]]:
        """Of positions (n, 3): equivalent positions in the host's own cell, and the Wyckoff position such as '8a' ('8'
        without a letter), whatever was asked before.  Many positions at once are faster than one by one: their orbits
        are labelled together."""
        frac_positions = np.asarray(frac_positions, dtype=np.float64).reshape(-1, 3)
        keys = [position.tobytes() for position in frac_positions]
        unseen = {key: row for row, key in enumerate(keys) if key not in self._owners}
        rows, new = list(unseen.values()), list[np.ndarray]()
        for key, row, owner in zip(unseen, rows, self._near(frac_positions[rows], _ON_SITE).tolist(), strict=True):
            self._owners[key] = self._owner_of(frac_positions[row], new) if owner < 0 else owner
        if new:
            labels = wyckoff_labels(self.host, np.array([orbit[0] for orbit in new]), self.symprec)
            self._known += [(len(orbit), str(label)) for orbit, label in zip(new, labels, strict=True)]
        return [self._known[self._owners[key]] for key in keys]

    def _owner_of(self, position: np.ndarray, new: list[np.ndarray]) -> int:
        """The orbit of a position (3,), which is appended to `new` if it is not known.

        Both are compared on their symmetry elements: before, a position may be near one that belongs to another element
        or to none.  An operation that keeps one of two positions d apart moves the other by 2 d at most, so that less
        than half the tolerance apart both are on the same elements: whichever was first, they are named alike.
        """
        owner = int(self._near(position[None], _ON_SITE)[0]) if new else -1  # of those just before
        if owner >= 0:
            return owner
        operations = symmetry_operations(self.host, self.symprec)
        moved = onto_symmetry_elements(self.host.lattice, operations, position, self.tolerance)
        owner = int(self._near(moved[None], min(SAME_SITE, 0.4 * self.tolerance))[0])
        if owner >= 0:
            return owner
        orbit = orbit_under(self.host.lattice, operations, moved)
        owner = len(self._known) + len(new)
        self._orbits = np.concatenate([self._orbits, orbit])
        self._owner = np.concatenate([self._owner, np.full(len(orbit), owner)])
        new.append(orbit)
        return owner

    def _near(self, frac_positions: np.ndarray, limit: float) -> np.ndarray:
        """The known orbit that has each position within `limit` A, int64 (n,); -1 for none."""
        if not len(self._orbits):
            return np.full(len(frac_positions), -1, dtype=np.int64)
        near = self._cell.within(frac_positions, self._orbits, limit)
        return np.where(near.any(axis=1), self._owner[near.argmax(axis=1)], -1)
