"""Which host atoms surround a site.

Rule: the shell ends at the largest gap in the reciprocal distances, max(1/d_i - 1/d_{i+1}) (G. O. Brunner, Acta
Cryst. A33, 226 (1977); pymatgen's `BrunnerNNReciprocal` is the test oracle).  It has no parameter but the distance up
to which it looks, and needs no oxidation states.
"""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .periodic_points import PeriodicPoints

LOOK = 6.0  # A; the first shell of an ion ends well before


def coordination(host: Crystal, points: PeriodicPoints, frac_coords: np.ndarray) -> list[dict[str, tuple[int, float]]]:
    """Neighbours of sites.

    Args:
        host: the host.
        points: its atoms, with a reach of `LOOK`.
        frac_coords: sites, (n, 3).

    Returns:
        For each site: element -> (number of neighbours, their mean distance in A), nearest element first; empty where
        no host atom is within `LOOK`.
    """
    from ase.data import chemical_symbols

    rows, atoms, vectors = points.pairs(frac_coords)
    distances = np.linalg.norm(vectors, axis=1)
    shells = []
    for site in range(len(frac_coords)):
        of_site = np.flatnonzero(rows == site)
        of_site = of_site[np.argsort(distances[of_site], kind="stable")]
        near = distances[of_site]
        gaps = -np.diff(1.0 / np.maximum(near, 1e-3))
        # Of gaps equal up to rounding take the inner one, or images of one crystal would differ.
        size = int(np.flatnonzero(gaps >= gaps.max() - 1e-6)[0]) + 1 if len(gaps) else len(near)
        numbers = host.numbers[atoms[of_site[:size]]]
        elements = {int(z): near[:size][numbers == z] for z in dict.fromkeys(numbers.tolist())}
        shells.append({chemical_symbols[z]: (len(d), float(d.mean())) for z, d in elements.items()})
    return shells
