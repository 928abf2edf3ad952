"""Places for one ion that follow from the host's geometry alone: a second opinion beside samples of the score model.

A vertex of the Voronoi tessellation of the host's atoms is as far from four or more of them as a point near it can be:
the centre of an interstitial void (as pymatgen's `TopographyAnalyzer` finds interstitials).
"""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling.contact_distances import CONTACT, REACH, contact_radii, invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell


def void_centres(
    host: Crystal,
    number: int,
    limit: int,
    symprec: float = 0.1,
    tolerance: float = 0.5,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Voids of a host that could hold an ion, one of each set that the host's symmetry relates.

    Args:
        host: the host, with atoms.
        number: atomic number of the ion.
        limit: at most so many, the roomiest.
        symprec: distance tolerance in A of the host's symmetry.
        tolerance: within this distance in A, under that symmetry, two are the same.
        known: places whose voids are left out, fractional coordinates (K, 3).

    Returns:
        Fractional coordinates, float64 (V, 3), the roomiest first.
    """
    # An ion has bonds of at most this length, so a void whose atoms are further away is none.
    bonds = REACH / CONTACT * float((contact_radii(host.numbers) + contact_radii(np.array([number]))).max())
    vertices = _vertices(host.lattice, host.frac_coords % 1.0, bonds)
    vertices = vertices[~invalid_samples(host, [number], vertices[:, None]).invalid] if len(vertices) else vertices
    if not len(vertices):
        return np.zeros((0, 3))
    room = _room(host, number, vertices)
    vertices = vertices[np.argsort(-np.round(room, 3), kind="stable")]
    cell, (rotations, translations) = PeriodicCell(host.lattice), symmetry_operations(host, symprec)

    def same_as(place: np.ndarray) -> np.ndarray:
        """Which vertices are images of a place, bool (V,)."""
        images = np.unique(np.round((rotations @ place + translations) % 1.0, 6), axis=0)
        return np.logical_or.reduce(cell.within(vertices, images, tolerance), axis=1)

    taken, found = np.zeros(len(vertices), dtype=bool), list[int]()
    for place in () if known is None else known:
        taken |= same_as(place)
    while len(found) < limit and not taken.all():
        found.append(int(taken.argmin()))
        taken |= same_as(vertices[found[-1]])
        taken[found[-1]] = True
    return vertices[found]


def _vertices(lattice: np.ndarray, frac_coords: np.ndarray, reach: float) -> np.ndarray:
    """Voronoi vertices in the cell, fractional (V, 3); right where the nearest atoms are within `reach`, in A."""
    from scipy.spatial import QhullError, Voronoi

    margin = reach * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    cells = [np.arange(-n, n + 1) for n in np.ceil(margin).astype(int)]
    shifts = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    images = (frac_coords + shifts).reshape(-1, 3)
    images = images[((images >= -margin) & (images <= 1.0 + margin)).all(axis=1)]
    try:
        found = Voronoi(images @ lattice).vertices @ np.linalg.inv(lattice)
    except QhullError:  # all atoms in one plane
        return np.zeros((0, 3))
    inside = ((found > -1e-6) & (found < 1.0 - 1e-6)).all(axis=1)
    wrapped = found[inside] % 1.0
    return np.where(wrapped == 1.0, 0.0, wrapped)  # -1e-17 % 1.0 is 1


def _room(host: Crystal, number: int, frac_coords: np.ndarray) -> np.ndarray:
    """Distance to the nearest atom, beyond contact, A (V,)."""
    contact = contact_radii(host.numbers) + contact_radii(np.array([number]))
    return (PeriodicCell(host.lattice).distances(frac_coords, host.frac_coords) - contact).min(axis=1)
