"""Places for one ion that follow from the host's geometry alone: a second opinion beside samples of the score model.

A vertex of the Voronoi tessellation of the host's atoms is as far from four or more of them as a point near it can be:
the centre of an interstitial void (as pymatgen's `TopographyAnalyzer` finds interstitials).
"""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.contact_distances import contact_radii, invalid_samples
from inpaint_hpc.sampling.deduplication import deduplicate
from inpaint_hpc.sampling.minimum_image import PeriodicCell

_REACH = 6.0  # A around the cell; a void whose atoms are further away has no bond to offer
_MERGE = 0.3  # A; vertices of one void that is not quite symmetric


def void_centres(host: Crystal, number: int, limit: int, symprec: float = 0.1) -> np.ndarray:
    """Voids of a host that could hold an ion, one of each set that the host's symmetry relates.

    Args:
        host: the host, with atoms.
        number: atomic number of the ion.
        limit: at most so many, the roomiest.
        symprec: distance tolerance in A of the host's symmetry.

    Returns:
        Fractional coordinates, float64 (V, 3), the roomiest first.
    """
    vertices = _vertices(host.lattice, host.frac_coords % 1.0)
    vertices = vertices[~invalid_samples(host, [number], vertices[:, None]).invalid] if len(vertices) else vertices
    if not len(vertices):
        return np.zeros((0, 3))
    room = _room(host, number, vertices)
    vertices = vertices[np.argsort(-np.round(room, 3), kind="stable")]
    clusters = deduplicate(host, [number], vertices[:, None], _MERGE, symprec)
    chosen = np.sort([cluster.members[0] for cluster in clusters])[:limit]
    return vertices[chosen]


def _vertices(lattice: np.ndarray, frac_coords: np.ndarray) -> np.ndarray:
    """Voronoi vertices in the cell, fractional (V, 3)."""
    from scipy.spatial import QhullError, Voronoi

    margin = _REACH * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    cells = [np.arange(-n, n + 1) for n in np.ceil(margin).astype(int)]
    shifts = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    images = (frac_coords + shifts).reshape(-1, 3)
    images = images[((images >= -margin) & (images <= 1.0 + margin)).all(axis=1)]
    try:
        found = Voronoi(images @ lattice).vertices @ np.linalg.inv(lattice)
    except QhullError:  # all atoms in one plane
        return np.zeros((0, 3))
    inside = ((found > -1e-6) & (found < 1.0 - 1e-6)).all(axis=1)
    return found[inside] % 1.0


def _room(host: Crystal, number: int, frac_coords: np.ndarray) -> np.ndarray:
    """Distance to the nearest atom, beyond contact, A (V,)."""
    contact = contact_radii(host.numbers) + contact_radii(np.array([number]))
    return (PeriodicCell(host.lattice).distances(frac_coords, host.frac_coords) - contact).min(axis=1)
