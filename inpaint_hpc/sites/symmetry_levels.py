"""The symmetries that a host can be taken to have: several tolerances, its translations alone, and none.

A host relaxed by DFT, or relaxed without its guests, is symmetric only approximately, and guests may break what
symmetry it has.  The choice between levels is made where the sites are used, not here.

A cell of several primitive cells has only those operations that map its own lattice onto itself: a 2x1x1 cell of a
cubic crystal has few.  The crystal has them all, so a level stores its primitive cell and the whole group there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling.minimum_image import PeriodicCell

SYMPRECS = (0.01, 0.05, 0.1, 0.3)
# Operations of two tolerances that differ by less than this in A are one: the origins found differ slightly.
_SAME_OPERATION = 0.5
_IDENTITY = np.eye(3, dtype=np.int64)


@dataclass(frozen=True)
class SymmetryLevel:
    """A group of operations in fractional coordinates of the primitive cell: x goes to `rotation @ x + translation`.

    Attributes:
        symprec: distance tolerance in A with which spglib found the group; 0 for no symmetry at all.
        lattice: of the primitive cell, rows in A, (3, 3).
        multiples: the host's cell vectors in those of the primitive cell, int64 (3, 3): `multiples @ lattice`.
        rotations: int64 (O, 3, 3).
        translations: float64 (O, 3).
        subgroup: part of the space group that is used: '' for all of it, 'translations' for pure translations only.
    """

    symprec: float
    lattice: np.ndarray
    multiples: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    subgroup: str = ""

    def __len__(self) -> int:
        """Operations in the host's cell."""
        return len(self.host_operations[0])

    @property
    def operations(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations and translations in the primitive cell."""
        return self.rotations, self.translations

    @cached_property
    def inverse_rotations(self) -> np.ndarray:
        """float64 (O, 3, 3)."""
        return np.linalg.inv(self.rotations)

    @cached_property
    def lattice_points(self) -> np.ndarray:
        """Points of the primitive lattice in the host's cell, fractional in the host's cell, (T, 3)."""
        return _lattice_points(self.multiples)

    @cached_property
    def host_operations(self) -> tuple[np.ndarray, np.ndarray]:
        """The operations that map the host's own lattice onto itself, in fractional coordinates of its cell."""
        inverse = np.linalg.inv(self.multiples.T)
        rotations = inverse @ self.rotations @ self.multiples.T
        whole = np.round(rotations)
        kept = np.abs(rotations - whole).max(axis=(1, 2)) < 1e-6
        points = self.lattice_points
        translations = (self.translations[kept] @ inverse.T)[:, None] + points
        return (
            np.repeat(whole[kept].astype(np.int64), len(points), axis=0),
            (translations - np.floor(translations)).reshape(-1, 3),
        )

    def images(self, frac_coords: np.ndarray) -> np.ndarray:
        """Images of points (n, 3) under every operation, in the primitive cell, (n, O, 3)."""
        return np.einsum("oij,nj->noi", self.rotations, frac_coords) + self.translations

    def to_primitive(self, frac_coords: np.ndarray) -> np.ndarray:
        """Coordinates in the primitive cell of coordinates (n, 3) in the host's cell."""
        return np.asarray(frac_coords) @ self.multiples

    def to_host(self, frac_coords: np.ndarray) -> np.ndarray:
        """All points of the host's cell, in [0, 1), that are points (n, 3) of the primitive cell: (n * T, 3)."""
        frac = np.asarray(frac_coords) @ np.linalg.inv(self.multiples)
        frac = (frac[:, None] + self.lattice_points).reshape(-1, 3)
        frac = frac - np.floor(frac)
        return np.where(frac >= 1.0, 0.0, frac)

    def same_as(self, other: SymmetryLevel) -> bool:
        """Whether both contain the same operations, up to small shifts of the origin."""
        if len(self.rotations) != len(other.rotations) or len(self) != len(other):
            return False
        if not np.allclose(self.lattice, other.lattice, atol=1e-6):
            return False
        for rotation, translation in zip(self.rotations, self.translations, strict=True):
            alike = (other.rotations == rotation).all(axis=(1, 2))
            difference = other.translations[alike] - translation
            shifts = np.linalg.norm((difference - np.round(difference)) @ self.lattice, axis=1)
            if shifts.min(initial=np.inf) > _SAME_OPERATION:
                return False
        return True


def symmetry_levels(host: Crystal, symprecs: Sequence[float] = SYMPRECS) -> list[SymmetryLevel]:
    """Different groups of a host, largest first; the last is the identity alone.

    Of equal groups that with the smallest tolerance is kept.  Where the cell holds several primitive cells, the pure
    translations form a separate level.

    Args:
        host: the host, in any cell.
        symprecs: distance tolerances in A for spglib.
    """
    parts = (host.numbers, host.frac_coords, host.lattice)
    return list(_levels(*(part.tobytes() for part in parts), tuple(sorted(symprecs))))


@lru_cache(maxsize=64)
def _levels(
    numbers: bytes, frac_coords: bytes, lattice: bytes, symprecs: tuple[float, ...]
) -> tuple[SymmetryLevel, ...]:
    host = Crystal(np.frombuffer(numbers, dtype=np.int64), np.frombuffer(frac_coords), np.frombuffer(lattice))
    one, nowhere = _IDENTITY[None], np.zeros((1, 3))
    levels = [SymmetryLevel(0.0, host.lattice, _IDENTITY, one, nowhere)]
    for symprec in symprecs:
        primitive, multiples = primitive_cell(host, symprec)
        operations = symmetry_operations(primitive, symprec)
        for found in (
            SymmetryLevel(symprec, primitive.lattice, multiples, *operations),
            SymmetryLevel(symprec, primitive.lattice, multiples, one, nowhere, "translations"),
        ):
            if not any(found.same_as(known) for known in levels):
                levels.append(found)
    return tuple(sorted(levels, key=lambda level: (-len(level), -len(level.rotations))))


def primitive_cell(host: Crystal, symprec: float) -> tuple[Crystal, np.ndarray]:
    """The host in its primitive cell, in its own frame and with its own origin.

    Atoms that translations map onto each other are averaged.

    Returns:
        The primitive crystal, the host itself if it is primitive, and the host's cell vectors in those of the primitive
        cell, int64 (3, 3).
    """
    rotations, translations = symmetry_operations(host, symprec)
    points = translations[(rotations == _IDENTITY).all(axis=(1, 2))]
    lattice = _primitive_lattice(host.lattice, points)
    if lattice is None:
        return host, _IDENTITY
    multiples = np.round(host.lattice @ np.linalg.inv(lattice)).astype(np.int64)
    cell = PeriodicCell(lattice)
    frac = host.frac_coords @ multiples
    numbers, rows = [], []
    left = np.arange(len(host))
    while len(left):
        vectors = cell.vectors(frac[left] - frac[left[0]])
        lengths = np.where(host.numbers[left] == host.numbers[left[0]], np.linalg.norm(vectors, axis=1), np.inf)
        copies = np.argsort(lengths, kind="stable")[: len(points)]
        numbers.append(host.numbers[left[0]])
        rows.append(frac[left[0]] + vectors[copies].mean(axis=0) @ np.linalg.inv(lattice))
        left = np.delete(left, copies)
    return Crystal(np.array(numbers), np.array(rows), lattice, host.name), multiples


def _primitive_lattice(lattice: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Basis of the lattice that lattice points (T, 3) in the cell make; None if that is the cell's own.

    In three dimensions the shortest three independent vectors of a lattice are a basis of it.
    """
    if len(points) == 1:
        return None
    shifts = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    reduced = PeriodicCell(lattice).reduced
    folded = points @ lattice @ np.linalg.inv(reduced)
    folded = folded - np.round(folded)
    vectors = (folded[:, None] + shifts).reshape(-1, 3) @ reduced
    lengths = np.linalg.norm(vectors, axis=1)
    basis: list[np.ndarray] = []
    for k in np.argsort(np.round(lengths, 6), kind="stable"):
        if lengths[k] > 1e-3 and np.linalg.matrix_rank(np.array([*basis, vectors[k]]), tol=1e-3) > len(basis):
            basis.append(vectors[k])
            if len(basis) == 3:
                break
    found = np.array(basis)
    if abs(abs(np.linalg.det(found)) * len(points) / abs(np.linalg.det(lattice)) - 1.0) > 1e-4:
        return None
    return found * np.sign(np.linalg.det(found) * np.linalg.det(lattice))


def _lattice_points(multiples: np.ndarray) -> np.ndarray:
    """Points of a lattice in a cell whose vectors are `multiples` (3, 3) of its basis, fractional in the cell."""
    count = round(abs(np.linalg.det(multiples)))
    corners = np.indices((2, 2, 2)).reshape(3, -1).T @ multiples
    low, high = corners.min(axis=0), corners.max(axis=0)
    grid = np.indices(high - low + 1).reshape(3, -1).T + low
    frac = grid @ np.linalg.inv(multiples)
    inside = ((frac > -1e-9) & (frac < 1.0 - 1e-9)).all(axis=1)
    points = frac[inside]
    if len(points) != count:
        raise AssertionError(f"{len(points)} lattice points in a cell of {count}")
    return np.where(np.abs(points) < 1e-9, 0.0, points)
