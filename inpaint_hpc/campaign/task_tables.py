"""The three tables of a run directory: hosts.h5, tasks.h5, shards.h5.

hosts.h5    id (H, 32), atom_offsets (H + 1), numbers, frac_coords, lattice (H, 3, 3), and the texts name and info
            (JSON) as name_offsets, name_bytes, info_offsets, info_bytes
tasks.h5    id (N, 32), host (row), guest_list, samples, cost, each (N,); guest_list_offsets, guest_list_numbers: the
            different lists of guests; reference_offsets (N + 1), reference_frac_coords: where removed atoms were
shards.h5   first, n_tasks, cost, each (shards,)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_hdf5

if TYPE_CHECKING:
    import h5py

    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.sampling.tasks import Task

    from .host_table import HostTable

# Rows of a chunk: small enough that reading the few hosts of a shard does not unpack the whole file.
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


@dataclass(frozen=True, eq=False)
class CampaignTask:
    """One task of a campaign.

    Attributes:
        row: row in tasks.h5.
        id: sha256 of everything that decides its result, 64 hexadecimal digits.
        host: the host, float64.
        guests: sorted atomic numbers, one per guest.
        samples: valid samples wanted.
        cost: estimated cost, see `cost.py`.
        reference: fractional coordinates of the atoms that were taken out (`remove`), float64 (n_guests, 3) in the
            order of `guests`; None where guests are new.
    """

    row: int
    id: str
    host: Crystal
    guests: tuple[int, ...]
    samples: int
    cost: float
    reference: np.ndarray | None = None

    @property
    def task(self) -> Task:
        """What the pipeline takes.

        Raises:
            InputError: a host and guests that the pipeline refuses.
        """
        from inpaint_hpc.sampling.tasks import Task

        return Task(self.host, self.guests)


class HostWriter:
    """Writes hosts.h5, each distinct host once; the file appears when the block ends without an exception.

    Args:
        path: the file.

    Attributes:
        count: hosts written.
    """

    def __init__(self, path: Path) -> None:
        self._context = atomic_hdf5(path)
        self._row_of: dict[bytes, int] = {}

    @property
    def count(self) -> int:
        return len(self._row_of)

    def __enter__(self) -> HostWriter:
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
        self._context.__exit__(kind, error, traceback)

    def rows(self, table: HostTable, rows: np.ndarray, digests: Sequence[bytes]) -> np.ndarray:
        """Row in hosts.h5 of each of some hosts, int64 (R,); those that are not there yet are appended.

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


@contextmanager
def open_table(path: Path) -> Iterator[h5py.File]:
    """One of the tables for reading.

    Raises:
        InputError: missing or damaged.
    """
    import h5py

    try:
        # Locks are not needed, the file never changes, and network file systems often lack them.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; the run directory is damaged, create it again") from None
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not readable ({error}); the run directory is damaged, create it again") from error


def read_ids(folder: Path, rows: np.ndarray | None) -> np.ndarray:
    """Ids of tasks by row, all by default, as bytes of 64 hexadecimal digits, 'S64' (R,)."""
    with open_table(folder / "tasks.h5") as file:
        ids = file["id"][:] if rows is None else _take(file["id"], rows)
    return np.frombuffer(ids.tobytes().hex().encode(), dtype="S64")


def read_tasks(folder: Path, rows: np.ndarray) -> list[CampaignTask]:
    """Tasks by row, in the order of `rows` (int64, at least one); tasks of one host share its `Crystal`."""
    with open_table(folder / "tasks.h5") as file:
        ids, host_rows, lists, samples, cost = (
            _take(file[name], rows) for name in ("id", "host", "guest_list", "samples", "cost")
        )
        starts, stops = (_take(file["reference_offsets"], rows + k) for k in (0, 1))
        coords = file["reference_frac_coords"]
        references = [coords[a:b] if b > a else None for a, b in zip(starts, stops, strict=True)]
        offsets, numbers = file["guest_list_offsets"][:], file["guest_list_numbers"][:]
    hosts = read_hosts(folder, np.unique(host_rows))
    return [
        CampaignTask(
            row=int(row),
            id=ids[k].tobytes().hex(),
            host=hosts[int(host_rows[k])],
            guests=tuple(int(z) for z in numbers[offsets[lists[k]] : offsets[lists[k] + 1]]),
            samples=int(samples[k]),
            cost=float(cost[k]),
            reference=references[k],
        )
        for k, row in enumerate(rows)
    ]


def read_hosts(folder: Path, rows: Iterable[int]) -> dict[int, Crystal]:
    """Hosts by row of hosts.h5, each with its name and extra columns."""
    from inpaint_hpc.crystals.batch import Crystal

    found = {}
    with open_table(folder / "hosts.h5") as file:
        for row in map(int, rows):
            atoms = slice(*file["atom_offsets"][row : row + 2])
            name, info = (
                file[f"{what}_bytes"][slice(*file[f"{what}_offsets"][row : row + 2])].tobytes().decode()
                for what in ("name", "info")
            )
            found[row] = Crystal(
                file["numbers"][atoms], file["frac_coords"][atoms], file["lattice"][row], name, json.loads(info)
            )
    return found


def _take(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows of a dataset: one read of the range they span, which for the rows of a unit is exactly them."""
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= 4 * len(rows) + 1024:
        return dataset[low:high][rows - low]
    unique, inverse = np.unique(rows, return_inverse=True)
    return dataset[unique][inverse]
