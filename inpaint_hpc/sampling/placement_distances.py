"""How far placements of guests are from the right one.

Distances are of the guests alone, in the frame of the host, and least over permutations of equal guests, lattice images
and the host's space group.  A placement is right if no guest is further from its place than 0.2 (V / N)^(1/3); N counts
all atoms, V is the volume of the cell.  The paper (X. Dai et al., ICML AI4Science 2024) compares whole crystals by
`StructureMatcher(ltol=0.2, stol=0.2)`, which has the same tolerance but may shift the crystal first, so that it accepts
a few more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .deduplication import guest_displacements

STOL, SYMPREC = 0.2, 0.1  # SYMPREC: distance tolerance of the host's symmetry, A
FARTHEST = 3.0  # A; guests further away than this are nowhere near


@dataclass(frozen=True)
class Placed:
    """Placements of one task against the right one.

    Attributes:
        rmsd: root mean square distance of the guests, A, float64 (S,); infinite beyond `FARTHEST`.
        largest: distance of the guest that is farthest from its place, A, float64 (S,); infinite likewise.
        limit: largest distance of a right placement, A.
    """

    rmsd: np.ndarray
    largest: np.ndarray
    limit: float

    @property
    def right(self) -> np.ndarray:
        """Which placements are right, bool (S,)."""
        return self.largest <= self.limit


def tolerance(host: Crystal, n_guests: int, stol: float = STOL) -> float:
    """Largest distance of a right placement, A."""
    return stol * (host.volume / (len(host) + n_guests)) ** (1.0 / 3.0)


def compare_placements(
    host: Crystal,
    guests: Sequence[int],
    reference: np.ndarray,
    frac_coords: np.ndarray,
    symprec: float = SYMPREC,
    stol: float = STOL,
) -> Placed:
    """Distances of placements from the right one.

    Args:
        host: the host; not empty.
        guests: atomic numbers, (n,).
        reference: fractional coordinates of the right placement, (n, 3).
        frac_coords: of the placements, (S, n, 3); one with a coordinate that is not finite is infinitely far.
        symprec: distance tolerance in A of the host's symmetry.
        stol: a placement is right up to this times (V / N)^(1/3).

    Raises:
        ValueError: an empty host, no guests, or a reference that is not finite.
    """
    frac_coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, len(guests), 3)
    rmsd, largest = np.full((2, len(frac_coords)), np.inf)
    known = np.flatnonzero(np.logical_and.reduce(np.isfinite(frac_coords), axis=(1, 2)))
    limit = tolerance(host, len(guests), stol)
    # What is right is found within a small radius; only the others need a wide one.
    for radius in (1.5 * limit, FARTHEST):
        moved = guest_displacements(host, guests, reference, frac_coords[known], radius, symprec)
        for row, found in zip(known.tolist(), moved, strict=True):
            if found is not None:
                squares = (found**2).sum(axis=1)
                rmsd[row], largest[row] = np.sqrt(squares.mean()), np.sqrt(squares.max())
        known = known[~np.isfinite(rmsd[known])]
        if not len(known):
            break
    return Placed(rmsd, largest, limit)
