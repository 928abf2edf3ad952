"""Checks that every host must pass first."""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError

MAX_ATOMIC_NUMBER = 94
MIN_DISTANCE = 0.5
MIN_CONTACT = 0.55  # of the sum of covalent radii
_MIN_VOLUME_PER_ATOM = 0.1
_MOST_IMAGES = 1000
LONGEST = 1e4  # A, of a cell vector
FARTHEST = 1e5  # cells; beyond, coordinates lose their digits
READING_NOTES = "reading_notes"
"""Key of `Crystal.info`: what a reader had to assume or leave out, as the lines of one text."""


def check_crystal(crystal: Crystal, label: str | None = None, *, contacts: bool = False) -> None:
    """Refuse a crystal that no later step could treat sensibly.

    Args:
        crystal: the crystal; a left-handed cell is fine.
        label: name used in the message, by default the crystal's.
        contacts: also refuse atoms closer than crystals have them, below 0.55 of the sum of their covalent radii: a
            file that was misread, in other units or by another symmetry, shows here.  Of 4,000 crystals of the
            Materials Project 0.05 % are closer, of 5,046 of four other sets none (`benchmarks/minimum_distances.py`).

    Raises:
        InputError: no atoms, an element outside H to Pu, coordinates or lattice not finite or far too large, a cell
            without volume, or two atoms (or an atom and its own image) closer than `MIN_DISTANCE` A.
    """
    label = label or crystal.name or "crystal"
    if len(crystal) == 0:
        raise InputError(f"{label}: has no atoms")
    beyond = np.flatnonzero((crystal.numbers < 1) | (crystal.numbers > MAX_ATOMIC_NUMBER))
    if len(beyond):
        z = int(crystal.numbers[beyond[0]])
        raise InputError(
            f"{label}: atom {beyond[0]} has atomic number {z}; supported are 1 (H) to {MAX_ATOMIC_NUMBER} (Pu)"
        )
    if not np.isfinite(crystal.lattice).all():
        raise InputError(f"{label}: the lattice is not finite (NaN or infinity)")
    bad = np.flatnonzero(~np.isfinite(crystal.frac_coords).all(axis=1))
    if len(bad):
        raise InputError(f"{label}: atom {bad[0]} ({_symbol(crystal, bad[0])}) has coordinates that are not finite")
    longest, farthest = np.linalg.norm(crystal.lattice, axis=1).max(), np.abs(crystal.frac_coords).max()
    if longest > LONGEST or farthest > FARTHEST:
        what = (
            f"the cell is {longest:.3g} A long" if longest > LONGEST else f"a coordinate is {farthest:.3g} cells away"
        )
        raise InputError(f"{label}: {what}; check lattice and units")
    if crystal.volume < _MIN_VOLUME_PER_ATOM * len(crystal):
        raise InputError(
            f"{label}: the cell has no room, {crystal.volume:.3g} A^3 for {len(crystal)} atoms; check lattice and units"
        )
    _check_distances(crystal, label, contacts)


def reading_notes(crystal: Crystal) -> list[str]:
    """What was assumed or left out when a crystal was read, one line each."""
    text = crystal.info.get(READING_NOTES, "")
    return text.splitlines() if isinstance(text, str) else []


def partial_occupancy(site: str, species: str) -> str:
    """The message for a disordered site, which a crystal cannot hold."""
    return (
        f"{site} is partially occupied ({species}); order the structure first, e.g. with pymatgen's "
        "OrderDisorderedStructureTransformation"
    )


def _check_distances(crystal: Crystal, label: str, contacts: bool) -> None:
    from ase.data import covalent_radii
    from pymatgen.core import Lattice

    # In the reduced cell a small radius needs few images, however sheared the input is.
    reduced = Lattice(crystal.lattice).get_lll_reduced_lattice().matrix
    shortest = np.linalg.norm(reduced, axis=1).min()
    if shortest < MIN_DISTANCE:
        raise InputError(f"{label}: atoms are {shortest:.2f} A from their own periodic image; check the lattice")
    radii = MIN_CONTACT * covalent_radii[crystal.numbers] if contacts else np.zeros(len(crystal))
    first, second, distances = _near(crystal, reduced, max(MIN_DISTANCE, 2 * float(radii.max())), label)
    for allowed, reason in (
        (np.full(len(first), MIN_DISTANCE), "; remove one of them"),
        (radii[first] + radii[second], ", closer than such atoms come; check cell, units and symmetry"),
    ):
        short = distances - allowed
        if len(short) and short.min() < 0:
            i, j = sorted((int(first[short.argmin()]), int(second[short.argmin()])))
            raise InputError(
                f"{label}: atoms {i} ({_symbol(crystal, i)}) and {j} ({_symbol(crystal, j)}) are only "
                f"{distances[short.argmin()]:.2f} A apart{reason}"
            )


def _near(crystal: Crystal, reduced: np.ndarray, reach: float, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms (or of an atom and an image) closer than `reach` A; `reduced`: the cell (3, 3)."""
    from scipy.spatial import cKDTree

    frac = (crystal.frac_coords - np.floor(crystal.frac_coords)) @ crystal.lattice @ np.linalg.inv(reduced)
    frac -= np.floor(frac)
    margin = reach * np.linalg.norm(np.linalg.inv(reduced), axis=0)
    spans = np.ceil(margin).astype(int)
    if np.prod(2.0 * spans + 1) > _MOST_IMAGES:
        raise InputError(f"{label}: the cell is too flat; check lattice and units")
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in spans), indexing="ij"), axis=-1).reshape(-1, 3)
    images = frac + shifts[:, None]
    image, owners = np.nonzero(np.logical_and.reduce((images >= -margin) & (images <= 1 + margin), axis=-1))
    points = images[image, owners] @ reduced
    itself = ~np.logical_or.reduce(shifts != 0, axis=1)[image]
    pairs = cKDTree(frac @ reduced).sparse_distance_matrix(cKDTree(points), reach, output_type="ndarray")
    second = owners[pairs["j"]]
    other = ~((pairs["i"] == second) & itself[pairs["j"]]) & (pairs["v"] < reach)
    return pairs["i"][other], second[other], pairs["v"][other]


def _symbol(crystal: Crystal, index: int) -> str:
    from ase.data import chemical_symbols

    return chemical_symbols[int(crystal.numbers[index])]
