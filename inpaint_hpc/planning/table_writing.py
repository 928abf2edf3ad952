"""Writes the three tables of a run directory: hosts.h5, tasks.h5, shards.h5 (columns: campaign/task_tables.py)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.files import atomic_hdf5

from .host_table import HostTable

if TYPE_CHECKING:
    import h5py

# Rows per chunk: small enough that reading the few hosts of a shard does not decompress the whole file.
CHUNK_ROWS = 4096
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
_HOST_COLUMNS = {
    "id": ("u1", (32,)),
    "atom_offsets": ("i8", ()),
    "numbers": ("u1", ()),
    "frac_coords": ("f8", (3,)),
    "lattice": ("f8", (3, 3)),
    "name_offsets": ("i8", ()),
    "name_bytes": ("u1", ()),
    "info_offsets": ("i8", ()),
    "info_bytes": ("u1", ()),
}


class HostWriter:
    """Writes hosts.h5, each distinct host once; the file appears when the block ends without an exception.

    Args:
        path: the file.

    Attributes:
        count: hosts written.
    """

    def __init__(self, path: Path) -> None:
        """Name the file, which is made on entering."""
        self._context = atomic_hdf5(path)
        self._row_of: dict[bytes, int] = {}

    @property
    def count(self) -> int:
        """Hosts written so far."""
        return len(self._row_of)

    def __enter__(self) -> HostWriter:
        """Make the file with empty columns."""
        self._file = self._context.__enter__()
        for name, (dtype, tail) in _HOST_COLUMNS.items():
            self._file.create_dataset(
                name, (0, *tail), dtype, maxshape=(None, *tail), chunks=(CHUNK_ROWS, *tail), **_COMPRESSION
            )
        for name in ("atom", "name", "info"):
            self._append(f"{name}_offsets", np.zeros(1, dtype=np.int64))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the file in place, or remove it after an error."""
        self._context.__exit__(kind, error, traceback)

    def rows(self, table: HostTable, rows: np.ndarray, digests: Sequence[bytes]) -> np.ndarray:
        """Rows of hosts in hosts.h5, int64 (R,); hosts not yet in the file are appended.

        Args:
            table: the hosts.
            rows: the rows wanted, (R,).
            digests: their digests, R of them.
        """
        fresh = []
        for row, digest in zip(rows.tolist(), digests, strict=True):
            if digest not in self._row_of:
                self._row_of[digest] = len(self._row_of)
                fresh.append((row, digest))
        if fresh:
            self._write(table.take(np.array([row for row, _ in fresh])), b"".join(digest for _, digest in fresh))
        return np.array([self._row_of[digest] for digest in digests], dtype=np.int64)

    def _write(self, table: HostTable, digests: bytes) -> None:
        self._append("id", np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32))
        self._append("atom_offsets", table.offsets[1:] + int(self._file["atom_offsets"][-1]))
        for name in ("numbers", "frac_coords", "lattice"):
            self._append(name, getattr(table, name))
        self._append_texts("name", list(table.names))
        self._append_texts("info", [json.dumps(table.info(row)) for row in range(len(table))])

    def _append_texts(self, name: str, texts: list[str]) -> None:
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([len(text) for text in encoded]) + int(self._file[f"{name}_offsets"][-1])
        self._append(f"{name}_offsets", ends)
        self._append(f"{name}_bytes", np.frombuffer(b"".join(encoded), dtype=np.uint8))

    def _append(self, name: str, values: np.ndarray) -> None:
        dataset = self._file[name]
        before = len(dataset)
        dataset.resize(before + len(values), axis=0)
        dataset[before:] = values


def write_tasks(path: Path, columns: dict[str, np.ndarray], guest_lists: dict[tuple[int, ...], int]) -> None:
    """Write tasks.h5.

    Args:
        path: the file.
        columns: as listed above, without the guest lists.
        guest_lists: guests -> number, numbered from 0 in their order.

    Raises:
        OSError: it cannot be written.
    """
    lists = {
        "guest_list_offsets": np.concatenate([[0], np.cumsum([len(guests) for guests in guest_lists])]),
        "guest_list_numbers": np.array([z for guests in guest_lists for z in guests], dtype=np.uint8),
    }
    with atomic_hdf5(path) as file:
        for name, values in {**columns, **lists}.items():
            _write(file, name, values)


def write_shards(path: Path, cuts: np.ndarray, costs: np.ndarray) -> None:
    """Write shards.h5.

    Args:
        path: the file.
        cuts: first task of each shard and, last, the number of tasks, (shards + 1,).
        costs: of all tasks, (N,).

    Raises:
        OSError: it cannot be written.
    """
    with atomic_hdf5(path) as file:
        _write(file, "first", cuts[:-1])
        _write(file, "n_tasks", np.diff(cuts))
        _write(file, "cost", np.add.reduceat(costs, cuts[:-1]))


def _write(file: h5py.File, name: str, values: np.ndarray) -> None:
    if not len(values):
        file.create_dataset(name, data=values)
        return
    chunks = (min(CHUNK_ROWS, len(values)), *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunks, **_COMPRESSION)
