"""The packed format: many crystals in one HDF5 file, columnar, ragged arrays by counts.

Schema 1.0.  Atoms of crystal `i` are rows `sum(n_atoms[:i]) : sum(n_atoms[:i + 1])` of the per-atom datasets:

    ids          utf-8 string (N)              name of the crystal in tables
    n_atoms      int32 (N)                     atoms in the cell
    numbers      uint8 (sum n_atoms)           atomic numbers
    frac_coords  float32 (sum n_atoms, 3)      fractional coordinates, wrapped to [0, 1)
    lattice      float32 (N, 3, 3)             rows a, b, c in A
    split        int8 (N), optional            0 train, 1 validation, 2 evaluation only

Every other one-dimensional dataset of length N is a column that is read into `Crystal.info`.  File attributes carry
`schema_version` and, by custom, title, source, licence, citation, created.  A reader accepts every minor version of its
own major version.  Electrode files hold two such sets, prefixed `host_` and `ref_`; see `read_electrodes`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import open_hdf5

if TYPE_CHECKING:
    import h5py

SCHEMA_VERSION = "1.0"
SPLITS = {"train": 0, "val": 1, "eval": 2}
STRUCTURE = ("n_atoms", "numbers", "frac_coords", "lattice")


class PackedDataset:
    """Crystals of a packed file, held in memory as a few arrays.

    Args:
        path: the packed HDF5 file.
        split: 'train', 'val' or 'eval' keeps that part (by the dataset `split`); None keeps all.
        max_atoms: keep crystals of at most this many atoms.
        ids: keep these, in this order (the first row of each id); None keeps all in the file's order.
        prefix: 'host_' or 'ref_' reads that half of an electrode file.

    Attributes:
        ids: names, list of str, length N.
        n_atoms: int32 (N,).
        numbers: uint8 (sum n_atoms,).
        frac_coords: float32 (sum n_atoms, 3).
        lattice: float32 (N, 3, 3), rows a, b, c in A.
        offsets: int64 (N + 1,); atoms of crystal i are rows offsets[i] : offsets[i + 1].
        columns: the file's other per-crystal columns, each (N,).

    Raises:
        InputError: not a packed file, damaged, of a newer schema, an unknown id, or a file without the split.
    """

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        max_atoms: int | None = None,
        ids: Sequence[str] | None = None,
        prefix: str = "",
    ) -> None:
        if split is not None and split not in SPLITS:
            raise InputError(f"unknown split '{split}'; choose one of {', '.join(SPLITS)}")
        self.path = Path(path)
        with _open(self.path) as file:
            arrays = _structure_arrays(file, self.path, prefix)
            self.ids: list[str] = arrays.pop("ids")
            self.columns = _columns(file, len(self.ids))
        self.n_atoms, self.numbers, self.frac_coords, self.lattice = (arrays[name] for name in STRUCTURE)
        self.offsets = _offsets(self.n_atoms)
        rows = np.arange(len(self))
        if ids is not None:
            rows = _rows_of(self.ids, ids, self.path)
        if split is not None:
            if "split" not in self.columns:
                raise InputError(f"{self.path}: has no dataset 'split'; make it again with `inpaint-hpc pack`")
            rows = rows[self.columns["split"][rows] == SPLITS[split]]
        if max_atoms is not None:
            rows = rows[self.n_atoms[rows] <= max_atoms]
        self._keep(rows)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Crystal]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: int) -> Crystal:
        """Crystal `index` (negative counts from the end); `info` holds its row of `columns`."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index = int(index) % len(self)
        atoms = slice(self.offsets[index], self.offsets[index + 1])
        info = {name: column[index].item() for name, column in self.columns.items()}
        return Crystal(self.numbers[atoms], self.frac_coords[atoms], self.lattice[index], self.ids[index], info)

    def _keep(self, rows: np.ndarray) -> None:
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return
        counts = self.n_atoms[rows]
        offsets = _offsets(counts)
        # Row of the old arrays for each atom kept: its crystal's old start plus its place within the crystal.
        atoms = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        self.ids = [self.ids[row] for row in rows]
        self.n_atoms, self.offsets, self.lattice = counts, offsets, self.lattice[rows]
        self.numbers, self.frac_coords = self.numbers[atoms], self.frac_coords[atoms]
        self.columns = {name: column[rows] for name, column in self.columns.items()}


def read_packed(path: str | Path, selection: str | Sequence[str] | None = None) -> list[Crystal]:
    """Crystals of a packed file, with its extra columns in `info`.

    Args:
        path: the packed HDF5 file.
        selection: None for all; 'mp-1234' or 'mp-1,mp-2' or a sequence of ids; '0:100' or '::10' rows as a Python
            slice; '17' row 17, unless that is an id.

    Raises:
        InputError: as `PackedDataset`, or the selection names nothing.
    """
    dataset = PackedDataset(path)
    if selection is None:
        return list(dataset)
    return [dataset[int(row)] for row in select_rows(dataset.ids, selection, path)]


def select_rows(ids: Sequence[str], selection: str | Sequence[str], path: str | Path) -> np.ndarray:
    """Rows (int64) of `ids` that a selection names, in the selection's order; see `read_packed` for the syntax.

    Raises:
        InputError: the selection names nothing; `path` is the file's name in the message.
    """
    if not isinstance(selection, str):
        return _rows_of(ids, selection, path)
    n, text = len(ids), selection.strip()
    if text in ids:
        return _rows_of(ids, [text], path)
    parts = text.split(":")
    if 2 <= len(parts) <= 3 and all(_is_integer(part) or not part for part in parts):
        bounds = [int(part) if part else None for part in parts]
        if len(bounds) < 3 or bounds[2] != 0:
            rows = np.arange(n)[slice(*bounds)]
            if len(rows):
                return rows
        raise InputError(f"{path}: the selection '{text}' takes none of its {n} crystals")
    if _is_integer(text):
        if -n <= int(text) < n:
            return np.array([int(text) % n])
        raise InputError(f"{path}: no row {text}; it has rows 0 to {n - 1}")
    return _rows_of(ids, [part.strip() for part in text.split(",")], path)


def _rows_of(ids: Sequence[str], wanted: Sequence[str], path: str | Path) -> np.ndarray:
    row_of: dict[str, int] = {}
    for row, name in enumerate(ids):
        row_of.setdefault(name, row)
    missing = [name for name in wanted if name not in row_of]
    if missing:
        raise InputError(f"{path}: no crystal with id '{missing[0]}' among its {len(ids)}")
    return np.array([row_of[name] for name in wanted], dtype=np.int64)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


@dataclass(frozen=True)
class ElectrodePair:
    """An insertion-electrode task: an empty host and the discharged electrode it should become.

    Attributes:
        host: the charged electrode without the ion, as it relaxed without it.
        reference: the discharged electrode; its first `len(host)` atoms are the host's, in the same order, its last
            `n_guest` atoms the guests.
        guest_z: atomic number of the ion.
        n_guest: number of guests in the reference.
        info: the file's other columns (recommended, average_voltage in V, volume_change_percent ...).
    """

    host: Crystal
    reference: Crystal
    guest_z: int
    n_guest: int
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """`charged>discharged`."""
        return self.host.name


def read_electrodes(path: str | Path) -> list[ElectrodePair]:
    """Electrode pairs of a packed electrode file, in the file's order.

    Raises:
        InputError: as `PackedDataset`, or hosts, references and guests do not fit together.
    """
    hosts, references = PackedDataset(path, prefix="host_"), PackedDataset(path, prefix="ref_")
    for name in ("guest_z", "n_guest"):
        if name not in hosts.columns:
            raise InputError(f"{path}: not an electrode file, it has no dataset '{name}'")
    pairs = []
    for host, reference in zip(hosts, references, strict=True):
        info = {key: value for key, value in host.info.items() if key not in ("guest_z", "n_guest")}
        guest_z, n_guest = int(host.info["guest_z"]), int(host.info["n_guest"])
        expected = np.concatenate([host.numbers, np.full(n_guest, guest_z)])
        if not np.array_equal(reference.numbers, expected):
            raise InputError(f"{path}: {host.name}: the reference is not the host followed by its {n_guest} guests")
        pairs.append(ElectrodePair(host, reference, guest_z, n_guest, info))
    return pairs


def canonical_reduced_formula(numbers: Iterable[int]) -> str:
    """Symbols in alphabetical order, each with its reduced count, ones written: `Li1Mn2O4`."""
    from ase.data import chemical_symbols

    values, counts = np.unique(np.asarray(list(numbers)), return_counts=True)
    divisor = math.gcd(*counts.tolist())
    parts = sorted((chemical_symbols[z], count // divisor) for z, count in zip(values, counts, strict=True))
    return "".join(f"{symbol}{count}" for symbol, count in parts)


def is_validation(numbers: Iterable[int], modulus: int = 50) -> bool:
    """Whether a composition belongs to validation: sha256 of its canonical reduced formula is 0 modulo `modulus`.

    All polymorphs and supercells of one compound fall on the same side, in every file.
    """
    return int(hashlib.sha256(canonical_reduced_formula(numbers).encode("ascii")).hexdigest(), 16) % modulus == 0


def hash_order(named: Iterable[Any], name: Callable[[Any], str] = attrgetter("name")) -> list[Any]:
    """Sort by sha256 of the names: the first n are a random but reproducible choice, for any n.

    Args:
        named: crystals, pairs or anything else with a name.
        name: gives the name of one of them.
    """
    return sorted(named, key=lambda one: hashlib.sha256(name(one).encode()).hexdigest())


@contextmanager
def _open(path: Path):
    """Open the HDF5 file; any failure to read it becomes a one-line error."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a packed HDF5 file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        with open_hdf5(path) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError) as error:
        # h5py raises all of these when bytes of a file are damaged.
        if isinstance(error, PermissionError):
            raise InputError(f"{path}: permission denied") from error
        if "already open for write" in str(error):
            raise InputError(
                f"{path}: another program has it open for writing, or was killed while it had; wait for it to end"
            ) from error
        raise InputError(f"{path}: not readable as HDF5; it is truncated, damaged or another format") from error


def _structure_arrays(file: h5py.File, path: Path, prefix: str) -> dict[str, Any]:
    """The checked structure datasets, without their prefix; `ids` as a list of str."""
    names = {name: prefix + name for name in STRUCTURE}
    for name in ("ids", *names.values()):
        if name not in file:
            raise InputError(f"{path}: not a packed crystal file, the dataset '{name}' is missing")
    version = str(file.attrs.get("schema_version", "missing"))
    if not version.split(".")[0].isdecimal():
        raise InputError(f"{path}: the file attribute schema_version is {version}; expected {SCHEMA_VERSION}")
    if int(version.split(".")[0]) > int(SCHEMA_VERSION.split(".")[0]):
        raise InputError(
            f"{path}: written by a newer inpaint_hpc (schema {version}, this one reads {SCHEMA_VERSION}); upgrade"
        )
    n_atoms = file[names["n_atoms"]][:].astype(np.int64).reshape(-1)
    n, total = len(n_atoms), int(n_atoms.sum())
    if n == 0:
        raise InputError(f"{path}: holds no crystals")
    shapes = {"ids": (n,), names["numbers"]: (total,), names["frac_coords"]: (total, 3), names["lattice"]: (n, 3, 3)}
    for name, shape in shapes.items():
        if n_atoms.min() < 1 or file[name].shape != shape:
            raise InputError(
                f"{path}: counts do not add up, dataset '{name}' has shape {file[name].shape}, "
                f"'{names['n_atoms']}' (at least {n_atoms.min()}, in all {total}) asks for {shape}"
            )
    arrays = {
        "ids": list(file["ids"].asstr()[:]),
        "n_atoms": n_atoms.astype(np.int32),
        "numbers": file[names["numbers"]][:].astype(np.uint8),
        "frac_coords": file[names["frac_coords"]][:].astype(np.float32),
        "lattice": file[names["lattice"]][:].astype(np.float32),
    }
    crystal = np.repeat(np.arange(n), n_atoms)
    for what, bad in (
        ("an atomic number 0", crystal[arrays["numbers"] == 0]),
        ("a coordinate that is not finite", crystal[~np.isfinite(arrays["frac_coords"]).all(axis=1)]),
        ("a lattice that is not finite", np.flatnonzero(~np.isfinite(arrays["lattice"]).all(axis=(1, 2)))),
    ):
        if len(bad):
            raise InputError(f"{path}: crystal '{arrays['ids'][bad[0]]}' (row {bad[0]}) has {what}")
    return arrays


def _columns(file: h5py.File, n: int) -> dict[str, np.ndarray]:
    """Extra per-crystal columns; strings as numpy unicode objects."""
    import h5py

    columns: dict[str, np.ndarray] = {}
    for name, dataset in file.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != (n,):
            continue
        if name == "ids" or any(name.endswith(structure) for structure in STRUCTURE):
            continue
        text = h5py.check_string_dtype(dataset.dtype) is not None
        # A fixed-width unicode array has `.item()` per element like the numeric ones, an object array has not.
        columns[name] = np.array(dataset.asstr()[:], dtype=np.str_) if text else dataset[:]
    return columns


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
