"""One crystal as numpy arrays, and a batch of crystals as concatenated tensors.

These types are used throughout the package.  `Crystal` is the content of a file: float64, in the input's own
order and frame.  `Crystals` is the input of networks and potentials: concatenated tensors with a crystal index.
`Guests` is a batch of samples, each of them the guests placed in one host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Crystal:
    """One crystal, as in a file.

    Attributes:
        numbers: atomic numbers, int64, shape (n,).
        frac_coords: fractional coordinates, float64, shape (n, 3), not necessarily inside [0, 1).
        lattice: rows are the cell vectors a, b, c in A, float64, shape (3, 3).
        name: name shown in tables, e.g. the file's stem or the packed id.
        info: additional columns (an energy, a number of guests ...).
    """

    numbers: np.ndarray
    frac_coords: np.ndarray
    lattice: np.ndarray
    name: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", np.asarray(self.numbers, dtype=np.int64).reshape(-1))
        object.__setattr__(self, "frac_coords", np.asarray(self.frac_coords, dtype=np.float64).reshape(-1, 3))
        object.__setattr__(self, "lattice", np.asarray(self.lattice, dtype=np.float64).reshape(3, 3))
        if len(self.numbers) != len(self.frac_coords):
            raise ValueError(f"{len(self.numbers)} atomic numbers but {len(self.frac_coords)} positions")

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Cell volume in A^3."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def positions(self) -> np.ndarray:
        """Cartesian positions in A, shape (n, 3)."""
        return self.frac_coords @ self.lattice

    @property
    def formula(self) -> str:
        """Formula of the cell in order of electronegativity, e.g. `Mn4 O8`."""
        from pymatgen.core import Composition, Element

        symbols = [Element.from_Z(int(z)).symbol for z in self.numbers]
        return Composition({s: symbols.count(s) for s in set(symbols)}).formula

    def without(self, number: int) -> Crystal:
        """The crystal without the atoms of one element."""
        keep = self.numbers != number
        return replace(self, numbers=self.numbers[keep], frac_coords=self.frac_coords[keep])

    def with_guests(self, numbers: ArrayLike, frac_coords: ArrayLike) -> Crystal:
        """The crystal with guests appended; host rows are bit-for-bit unchanged."""
        return replace(
            self,
            numbers=np.concatenate([self.numbers, np.asarray(numbers, dtype=np.int64).reshape(-1)]),
            frac_coords=np.concatenate([self.frac_coords, np.asarray(frac_coords, dtype=np.float64).reshape(-1, 3)]),
        )

    def to_structure(self) -> Structure:
        """As a pymatgen `Structure` (sites in the same order)."""
        from pymatgen.core import Lattice, Structure

        return Structure(Lattice(self.lattice), self.numbers.tolist(), self.frac_coords)

    @classmethod
    def from_structure(cls, structure: Structure, name: str = "", info: dict[str, Any] | None = None) -> Crystal:
        """From an ordered pymatgen `Structure`; oxidation states are dropped."""
        numbers = [getattr(site.specie, "element", site.specie).Z for site in structure]
        return cls(np.array(numbers), structure.frac_coords, structure.lattice.matrix, name, info or {})

    def to_atoms(self) -> Atoms:
        """As ASE `Atoms` (sites in the same order)."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, scaled_positions=self.frac_coords, cell=self.lattice, pbc=True)


def content_bytes(*arrays: np.ndarray) -> bytes:
    """Arrays as bytes for a digest: the same on every machine, -0.0 as 0.0, each with its size before it, which keeps
    neighbouring arrays apart."""
    return b"".join(
        np.int64(array.size).tobytes()
        + np.ascontiguousarray(array + 0, dtype="<i8" if array.dtype.kind == "i" else "<f8").tobytes()
        for array in arrays
    )


@dataclass(frozen=True)
class Crystals:
    """A batch of crystals as concatenated tensors.

    Attributes:
        numbers: atomic numbers, int64 (N,).
        positions: Cartesian positions in A, float (N, 3), wrapped or not.
        cells: rows a, b, c in A, float (B, 3, 3).
        crystal: index of the crystal of each atom, int64 (N,), non-decreasing.  A crystal may be empty.
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    crystal: torch.Tensor

    def __len__(self) -> int:
        return self.cells.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.positions.device

    @property
    def counts(self) -> torch.Tensor:
        """Atoms in each crystal, int64 (B,)."""
        import torch

        return torch.bincount(self.crystal, minlength=len(self))

    @property
    def volumes(self) -> torch.Tensor:
        """Cell volumes in A^3, (B,)."""
        return volumes(self.cells)

    def to(self, device: Any = None, dtype: Any = None) -> Crystals:
        """Move to a device and (floats only) to a dtype."""
        return Crystals(
            self.numbers.to(device),
            self.positions.to(device=device, dtype=dtype),
            self.cells.to(device=device, dtype=dtype),
            self.crystal.to(device),
        )

    @classmethod
    def from_list(cls, crystals: Sequence[Crystal], device: Any = None, dtype: Any = None) -> Crystals:
        """Concatenate `Crystal`s, by default as float32 on the CPU."""
        import torch

        dtype = dtype or torch.float32
        counts = torch.tensor([len(c) for c in crystals], dtype=torch.long)
        empty = np.zeros((0, 3))
        return cls(
            torch.as_tensor(np.concatenate([c.numbers for c in crystals] or [np.zeros(0, np.int64)])).to(device),
            torch.as_tensor(np.concatenate([c.positions for c in crystals] or [empty])).to(device, dtype),
            torch.as_tensor(np.stack([c.lattice for c in crystals])).to(device, dtype),
            torch.repeat_interleave(torch.arange(len(crystals)), counts).to(device),
        )

    @classmethod
    def cat(cls, batches: Iterable[Crystals]) -> Crystals:
        """Concatenate batches on one device."""
        import torch

        batches = list(batches)
        offsets = np.cumsum([0] + [len(b) for b in batches])
        return cls(
            torch.cat([b.numbers for b in batches]),
            torch.cat([b.positions for b in batches]),
            torch.cat([b.cells for b in batches]),
            torch.cat([b.crystal + int(o) for b, o in zip(batches, offsets, strict=False)]),
        )


@dataclass(frozen=True)
class Guests:
    """Guests of a batch of samples.  Sample `s` belongs to crystal `host[s]` of a batch of hosts.

    Attributes:
        numbers: atomic numbers, int64 (G,).
        positions: Cartesian positions in A, float (G, 3), wrapped or not.
        sample: index of the sample of each guest, int64 (G,), non-decreasing.
        host: index of the host crystal of each sample, int64 (S,).
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    sample: torch.Tensor
    host: torch.Tensor

    def __len__(self) -> int:
        return self.host.shape[0]

    @property
    def crystal(self) -> torch.Tensor:
        """Index of the host crystal of each guest, int64 (G,)."""
        return self.host[self.sample]

    def at(self, positions: torch.Tensor) -> Guests:
        """The same guests at other positions."""
        return replace(self, positions=positions)


def volumes(cells: torch.Tensor) -> torch.Tensor:
    """Cell volumes in A^3, (B,), of cells (B, 3, 3)."""
    import torch

    return torch.linalg.det(cells).abs()
