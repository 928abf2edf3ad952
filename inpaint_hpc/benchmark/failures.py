"""Kinds of failure of samples that do not match."""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.deduplication import guest_displacements
from inpaint_hpc.sampling.minimum_image import PeriodicCell

# From unusable to nearly right.
FAILURES = ("colliding", "wrong sites", "some wrong sites", "other arrangement", "blurred")
# A guest this close (A) to a site is on it.
ON_SITE = 0.6


def kind_of_failure(
    host: Crystal, guest_numbers: np.ndarray, right: np.ndarray, found: np.ndarray, symprec: float = 0.1
) -> str:
    """The kind of failure of a sample that does not match.

    Args:
        host: without the guests.
        guest_numbers: atomic numbers of the guests, (n,).
        right, found: fractional coordinates of the reference and of the sample, (n, 3).
        symprec: of the host's symmetry, A.

    Returns:
        'colliding': physically impossible; 'blurred': every guest within 1 A of where it belongs; 'other arrangement':
        every guest on a site of the reference or an image of one, but not the right sites together; 'some wrong sites';
        'wrong sites'.
    """
    if bool(invalid_samples(host, guest_numbers, found[None]).invalid[0]):
        return "colliding"
    if guest_displacements(host, guest_numbers, right, found[None], 1.0, symprec)[0] is not None:
        return "blurred"
    rotations, translations = symmetry_operations(host, symprec)
    sites = (np.einsum("oij,nj->oni", rotations, right) + translations[:, None]).reshape(-1, 3)
    hit = PeriodicCell(host.lattice).distances(found, sites).min(axis=1) <= ON_SITE
    if hit.all():
        return "other arrangement"
    return "some wrong sites" if hit.any() else "wrong sites"
