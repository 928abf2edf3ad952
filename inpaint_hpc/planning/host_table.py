"""Many hosts as a few arrays, for planning a campaign of a million tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import FARTHEST, LONGEST, MAX_ATOMIC_NUMBER, MIN_DISTANCE, check_crystal
from inpaint_hpc.sampling.contact_distances import contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell

# Pairs of atoms per chunk: bounds the memory of the distance check.
_PAIRS = 1_000_000


@dataclass(frozen=True, eq=False)
class HostTable:
    """H hosts as concatenated arrays.

    Attributes:
        names: names shown in tables, H strings.
        n_atoms: int64 (H,).
        numbers: atomic numbers, uint8 (sum n_atoms,).
        frac_coords: float64 (sum n_atoms, 3), as given.
        lattice: rows a, b, c in A, float64 (H, 3, 3).
        columns: further columns of the file, each (H,); None stands for a missing value.
    """

    names: Sequence[str]
    n_atoms: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    lattice: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of hosts."""
        return len(self.n_atoms)

    def __getitem__(self, row: int) -> Crystal:
        """A host as a crystal."""
        atoms = slice(*self.offsets[row : row + 2])
        return Crystal(self.numbers[atoms], self.frac_coords[atoms], self.lattice[row], self.names[row], self.info(row))

    @classmethod
    def from_crystals(cls, crystals: Sequence[Crystal]) -> HostTable:
        """From at least one crystal; `info` becomes columns."""
        names = dict.fromkeys(key for crystal in crystals for key in crystal.info)
        columns = {}
        for name in names:
            columns[name] = np.empty(len(crystals), dtype=object)
            columns[name][:] = [crystal.info.get(name) for crystal in crystals]
        return cls(
            [crystal.name for crystal in crystals],
            np.array([len(crystal) for crystal in crystals], dtype=np.int64),
            np.concatenate([crystal.numbers for crystal in crystals]).astype(np.uint8),
            np.concatenate([crystal.frac_coords for crystal in crystals]),
            np.stack([crystal.lattice for crystal in crystals]),
            columns,
        )

    @cached_property
    def offsets(self) -> np.ndarray:
        """Atoms of host i are rows offsets[i] : offsets[i + 1]; int64 (H + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)])

    @cached_property
    def host(self) -> np.ndarray:
        """Host of each atom, int64 (sum n_atoms,)."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @cached_property
    def volumes(self) -> np.ndarray:
        """Cell volumes in A^3, (H,)."""
        return np.abs(np.linalg.det(self.lattice))

    @cached_property
    def widths(self) -> np.ndarray:
        """Distances between opposite faces of the cells in A, (H, 3)."""
        faces = np.cross(np.roll(self.lattice, -1, axis=1), np.roll(self.lattice, -2, axis=1))
        return self.volumes[:, None] / np.maximum(np.linalg.norm(faces, axis=2), 1e-300)

    @cached_property
    def shortest(self) -> np.ndarray:
        """Length of the shortest lattice vector of each host in A, (H,)."""
        steps = np.array([n for n in product(range(-2, 3), repeat=3) if n > (0, 0, 0)], dtype=np.float64)
        shortest = np.full(len(self), np.inf)
        for step in steps:
            shortest = np.minimum(shortest, np.linalg.norm(np.einsum("i,hij->hj", step, self.lattice), axis=1))
        # A vector no longer than that has at most length / width steps along each axis; beyond 2 were not searched.
        for row in np.flatnonzero((shortest[:, None] / self.widths >= 3.0).any(axis=1)):
            shortest[row] = PeriodicCell(self.lattice[row]).shortest
        return shortest

    @cached_property
    def contact_volumes(self) -> np.ndarray:
        """Volume in A^3 of the spheres of all atoms' contact radii, (H,)."""
        spheres = 4.0 / 3.0 * np.pi * contact_radii(np.arange(256)) ** 3
        return np.bincount(self.host, spheres[self.numbers], minlength=len(self))

    def count(self, number: int) -> np.ndarray:
        """Atoms of an element in each host, int64 (H,)."""
        return np.bincount(self.host[self.numbers == number], minlength=len(self))

    def anions(self) -> np.ndarray:
        """Atomic number of the most electronegative element (Pauling) of each host, int64 (H,)."""
        order = _electronegativity_order()
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        highest = np.maximum.reduceat(rank[self.numbers], self.offsets[:-1])
        return order[highest]

    def info(self, row: int) -> dict[str, Any]:
        """Known values of the columns of a host, as plain values."""
        values = {name: column[row] for name, column in self.columns.items()}
        values = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return {name: value for name, value in values.items() if value is not None and value == value}

    def take(self, rows: np.ndarray) -> HostTable:
        """Some hosts, in the order of `rows`."""
        rows = np.asarray(rows)
        counts = self.n_atoms[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        atoms = np.repeat(self.offsets[rows] - starts[:-1], counts) + np.arange(starts[-1])
        return HostTable(
            [self.names[row] for row in rows],
            counts,
            self.numbers[atoms],
            self.frac_coords[atoms],
            self.lattice[rows],
            {name: column[rows] for name, column in self.columns.items()},
        )

    def without(self, number: int) -> HostTable:
        """The same hosts with every atom of one element removed; a host may become empty."""
        keep = self.numbers != number
        return replace(
            self,
            n_atoms=self.n_atoms - self.count(number),
            numbers=self.numbers[keep],
            frac_coords=self.frac_coords[keep],
        )

    def without_last(self, count: int) -> HostTable:
        """The same hosts without the last `count` atoms of each, which have more."""
        keep = np.ones(len(self.numbers), dtype=bool)
        keep[self.offsets[1:, None] - np.arange(1, count + 1)] = False
        return replace(
            self, n_atoms=self.n_atoms - count, numbers=self.numbers[keep], frac_coords=self.frac_coords[keep]
        )

    def digests(self) -> list[bytes]:
        """sha256 of each host's content; `archive.records.host_id` gives the same in hexadecimal."""
        numbers = memoryview(self.numbers.astype("<i8").tobytes())
        coords = memoryview((self.frac_coords + 0).astype("<f8").tobytes())
        lattice = memoryview((self.lattice + 0).astype("<f8").tobytes())
        nine = np.int64(9).tobytes()
        ends = self.offsets.tolist()
        digests = []
        for row, (start, stop) in enumerate(pairwise(ends)):
            n = stop - start
            content = (
                n.to_bytes(8, "little"),
                numbers[8 * start : 8 * stop],
                (3 * n).to_bytes(8, "little"),
                coords[24 * start : 24 * stop],
                nine,
                lattice[72 * row : 72 * row + 72],
            )
            digests.append(hashlib.sha256(b"".join(content)).digest())
        return digests

    def suspicious(self) -> np.ndarray:
        """Rows that `check_crystal` may refuse, int64; all others it would pass."""
        bad = (self.n_atoms == 0) | ~np.isfinite(self.lattice).all(axis=(1, 2))
        bad |= ~(np.linalg.norm(self.lattice, axis=2).max(axis=1) <= LONGEST)
        far = ~(np.abs(self.frac_coords).max(axis=1, initial=0.0) <= FARTHEST)  # also what is not finite
        strange = (self.numbers < 1) | (self.numbers > MAX_ATOMIC_NUMBER) | far
        bad[self.host[strange]] = True
        good = np.flatnonzero(~bad)
        table = self if len(good) == len(self) else self.take(good)
        # In a wider cell, two points closer than that differ by less than half a cell along each axis: rounding finds
        # the nearest image.
        close = (table.volumes < 0.1 * table.n_atoms) | (table.widths.min(axis=1, initial=np.inf) <= 2 * MIN_DISTANCE)
        wide = np.flatnonzero(~close)
        close[wide[table.take(wide)._closest() < MIN_DISTANCE]] = True
        bad[good[close]] = True
        return np.flatnonzero(bad)

    def _closest(self) -> np.ndarray:
        """Smallest distance in A between two atoms of each host by rounding to the nearest image, (H,)."""
        closest = np.full(len(self), np.inf)
        for n in np.unique(self.n_atoms[self.n_atoms > 1]).tolist():
            rows = np.flatnonzero(self.n_atoms == n)
            first, second = np.triu_indices(n, 1)
            for part in np.array_split(rows, max(1, len(rows) * len(first) // _PAIRS)):
                coords = self.frac_coords[self.offsets[part][:, None] + np.arange(n)]
                difference = coords[:, second] - coords[:, first]
                difference -= np.round(difference)
                vectors = difference @ self.lattice[part]
                closest[part] = np.sqrt(np.einsum("hpi,hpi->hp", vectors, vectors).min(axis=1))
        return closest

    def check(self, row: int, label: str) -> None:
        """Refuse a host that no later step could treat sensibly.

        Raises:
            InputError: as `check_crystal`.
        """
        check_crystal(self[row], label)


def _electronegativity_order() -> np.ndarray:
    """Atomic numbers 0 to 255 by Pauling electronegativity, lowest first; those without a value come first."""
    import warnings

    from pymatgen.core import Element

    values = np.zeros(256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns about the noble gases that have no value
        values[1 : MAX_ATOMIC_NUMBER + 1] = np.nan_to_num(
            [Element.from_Z(z).X for z in range(1, MAX_ATOMIC_NUMBER + 1)]
        )
    return np.argsort(values, kind="stable")
