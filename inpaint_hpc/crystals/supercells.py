"""Symmetry-inequivalent supercells of a crystal.

Sublattices of index m are the Hermite normal forms of determinant m; those that a rotation of the crystal turns into
each other give the same orderings (G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77, 224115 (2008)).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.errors import InputError

MAX_ATOMS = 5000  # atoms in a supercell; larger ones are refused


def hermite_normal_forms(index: int) -> Iterator[np.ndarray]:
    """Sublattices of `index` cells: lower triangular int64 (3, 3), off-diagonals below the diagonal of their column."""
    for a in range(1, index + 1):
        if index % a:
            continue
        for b in range(1, index // a + 1):
            if (index // a) % b:
                continue
            c = index // a // b
            for d in range(a):
                for e in range(a):
                    for f in range(b):
                        yield np.array([[a, 0, 0], [d, b, 0], [e, f, c]], dtype=np.int64)


def hermite_normal_form(matrix: np.ndarray) -> np.ndarray:
    """The Hermite normal form of the lattice spanned by the rows of an integer matrix (3, 3).

    Raises:
        ValueError: the rows span no lattice.
    """
    rows = [[int(value) for value in row] for row in np.asarray(matrix)]
    for column in (2, 1, 0):
        # Euclid's algorithm on the rows that are left, until one alone is not zero in this column.
        while True:
            nonzero = [row for row in range(column + 1) if rows[row][column]]
            if not nonzero:
                raise ValueError("the rows of the matrix span no lattice")
            pivot = min(nonzero, key=lambda row: abs(rows[row][column]))
            rows[pivot], rows[column] = rows[column], rows[pivot]
            if len(nonzero) == 1:
                break
            for row in range(column):
                times = rows[row][column] // rows[column][column]
                rows[row] = [x - times * y for x, y in zip(rows[row], rows[column], strict=True)]
        if rows[column][column] < 0:
            rows[column] = [-x for x in rows[column]]
    for column in (1, 0):
        for row in range(column + 1, 3):
            times = rows[row][column] // rows[column][column]
            rows[row] = [x - times * y for x, y in zip(rows[row], rows[column], strict=True)]
    return np.array(rows, dtype=np.int64)


def inequivalent_supercells(host: Crystal, index: int, symprec: float = 0.1) -> list[np.ndarray]:
    """Supercells of `index` cells that are not related by rotations of the host, most compact first.

    Args:
        host: the crystal, in any cell.
        index: cells in the supercell.
        symprec: distance tolerance in A of the host's symmetry.

    Returns:
        Vectors of each supercell in those of the host, int64 (3, 3), shortest vectors of their lattice.

    Raises:
        InputError: an index below 1.
    """
    if index < 1:
        raise InputError(f"a supercell has at least one cell, not {index}")
    rotations = np.unique(symmetry_operations(host, symprec)[0], axis=0)
    found: dict[bytes, np.ndarray] = {}
    for form in hermite_normal_forms(index):
        images = [hermite_normal_form(form @ rotation.T) for rotation in rotations]
        key = min(image.tobytes() for image in images)
        if key not in found:
            found[key] = _compact(host, form)
    return sorted(found.values(), key=lambda m: (round(float(((m @ host.lattice) ** 2).sum()), 6), m.tolist()))


def supercell(host: Crystal, matrix: np.ndarray, name: str | None = None) -> Crystal:
    """The host repeated in a cell of vectors `matrix @ lattice`, its atoms one after another with all their copies.

    Raises:
        InputError: the vectors span no volume.
    """
    from pymatgen.util.coord import lattice_points_in_supercell

    matrix = np.asarray(matrix, dtype=np.int64)
    if round(abs(np.linalg.det(matrix))) < 1:
        raise InputError("the vectors of the supercell span no volume")
    points = lattice_points_in_supercell(matrix)
    frac = (host.frac_coords @ np.linalg.inv(matrix))[:, None] + points
    frac = frac - np.floor(frac)
    return Crystal(
        np.repeat(host.numbers, len(points)),
        np.where(frac >= 1.0, 0.0, frac).reshape(-1, 3),
        matrix @ host.lattice,
        host.name if name is None else name,
        host.info,
    )


def _compact(host: Crystal, form: np.ndarray) -> np.ndarray:
    """Short vectors of a sublattice, in vectors of the host, right-handed."""
    from pymatgen.core import Lattice

    reduced = Lattice(form @ host.lattice).get_lll_reduced_lattice().matrix
    matrix = np.round(reduced @ np.linalg.inv(host.lattice)).astype(np.int64)
    return matrix if np.linalg.det(matrix) > 0 else -matrix
