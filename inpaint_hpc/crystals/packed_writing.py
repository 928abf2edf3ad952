"""Writing of packed files, see `inpaint_hpc.crystals.packed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import SCHEMA_VERSION, STRUCTURE, ElectrodePair
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_hdf5


def write_packed(
    path: str | Path,
    crystals: Iterable[Crystal],
    split: Sequence[int] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> int:
    """Write crystals to a packed file, atomically; an existing file is replaced.

    Args:
        path: the file to write.
        crystals: names become `ids`, fractional coordinates are wrapped to [0, 1), numbers, booleans and strings in
            `info` become columns (NaN or '' where a crystal lacks them).
        split: 0 train, 1 validation, 2 evaluation only, for each crystal; None keeps an `info['split']`, if any.
        attributes: file attributes (title, source, licence, citation ...).

    Returns:
        Number of crystals written.

    Raises:
        InputError: no crystals, or a `split` of another length.
        OSError: the file cannot be written.
    """
    crystals = list(crystals)
    if not crystals:
        raise InputError(f"{path}: nothing to write, no crystals were given")
    columns = _info_columns([c.info for c in crystals])
    if split is not None:
        if len(split) != len(crystals):
            raise InputError(f"{len(crystals)} crystals but {len(split)} values of split")
        columns["split"] = np.asarray(split, dtype=np.int8)
    _write_columns(path, {"ids": [c.name for c in crystals], **_structure_columns(crystals), **columns}, attributes)
    return len(crystals)


def write_electrodes(
    path: str | Path, pairs: Iterable[ElectrodePair], attributes: Mapping[str, Any] | None = None
) -> int:
    """Write electrode pairs as `read_electrodes` reads them, atomically; arguments and errors as `write_packed`."""
    pairs = list(pairs)
    if not pairs:
        raise InputError(f"{path}: nothing to write, no pairs were given")
    data = {
        "ids": [pair.name for pair in pairs],
        "guest_z": np.array([pair.guest_z for pair in pairs], dtype=np.uint8),
        "n_guest": np.array([pair.n_guest for pair in pairs], dtype=np.int32),
        **_structure_columns([pair.host for pair in pairs], "host_"),
        **_structure_columns([pair.reference for pair in pairs], "ref_"),
        **_info_columns([pair.info for pair in pairs]),
    }
    _write_columns(path, data, attributes, {name: f"ref_{name}" for name in STRUCTURE})
    return len(pairs)


def _structure_columns(crystals: Sequence[Crystal], prefix: str = "") -> dict[str, np.ndarray]:
    frac = np.concatenate([c.frac_coords for c in crystals])
    frac = (frac - np.floor(frac)).astype(np.float32)
    frac[frac >= 1.0] = 0.0  # the largest float64 below 1 rounds up in float32
    return {
        f"{prefix}n_atoms": np.array([len(c) for c in crystals], dtype=np.int32),
        f"{prefix}numbers": np.concatenate([c.numbers for c in crystals]).astype(np.uint8),
        f"{prefix}frac_coords": frac,
        f"{prefix}lattice": np.stack([c.lattice for c in crystals]).astype(np.float32),
    }


def _write_columns(
    path: str | Path,
    data: Mapping[str, Any],
    attributes: Mapping[str, Any] | None,
    links: Mapping[str, str] | None = None,
) -> None:
    import h5py

    with atomic_hdf5(path) as file:
        file.attrs.update({"created": date.today().isoformat(), **(attributes or {}), "schema_version": SCHEMA_VERSION})
        for name, values in data.items():
            text = isinstance(values, list)
            file.create_dataset(
                name,
                data=values,
                dtype=h5py.string_dtype() if text else None,
                chunks=True,
                compression="gzip",
                compression_opts=9,
                shuffle=not text,
            )
        for name, target in (links or {}).items():
            file[name] = file[target]


def _info_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of scalars by name, in order of first appearance, without those that the schema itself uses."""
    taken = {"ids", "guest_z", "n_guest", *(prefix + name for prefix in ("", "host_", "ref_") for name in STRUCTURE)}
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {
        name: _column([row.get(name) for row in rows]) for name in names if "/" not in name and name not in taken
    }
    return {name: column for name, column in columns.items() if column is not None}


def _column(values: list[Any]) -> np.ndarray | list[str] | None:
    """Values of one info key as an array or a list of strings; None when they are not all scalars."""
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, str) for value in known):
        return ["" if value is None else value for value in values]
    if not known or not all(isinstance(value, bool | int | float) for value in known):
        return None
    if len(known) < len(values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(values)
