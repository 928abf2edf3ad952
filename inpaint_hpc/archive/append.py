"""An archive that grows block by block while it is written, in memory that does not depend on its size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.files import atomic_path

from .columns import Block, take
from .full_disk_file import FullDiskFile, remove_stale
from .row_table import Table, filled
from .schema import CHILDREN, ROW, TABLES, is_offsets, known_column
from .storage import CACHE_BYTES, USER_BLOCK, create_appendable, digest, seal, sign, to_file

if TYPE_CHECKING:
    import h5py

Layout = dict[tuple[str, str], np.dtype]
"""dtype of each column (table, name) of an archive; texts as wide as they will have to be."""


def widened(layout: Layout, other: Layout) -> Layout:
    """The columns of both, each text as wide as the wider one."""
    found = dict(layout)
    for key, dtype in other.items():
        if key not in found or (dtype.kind == "S" and dtype.itemsize > found[key].itemsize):
            found[key] = dtype
    return found


@contextmanager
def appendable_archive(path: str | Path, layout: Layout, attributes: Mapping[str, Any]) -> Iterator[AppendableArchive]:
    """A new archive; it appears at `path`, complete and sealed, when the block ends without an exception.

    Args:
        path: the file; an existing one is replaced at the end, and what killed writers of it left is removed.
        layout: its columns.
        attributes: of the file, as in `write_result`; may be changed until the end.

    Raises:
        OSError: the file cannot be written, e.g. the disk is full; nothing is left behind.
    """
    import h5py

    path = Path(path)
    remove_stale(path)
    # The sink, and with it the lock, is closed after the rename, so that nobody takes the file for a stale one.
    with ExitStack() as stack, atomic_path(path) as temporary:
        sink = FullDiskFile(temporary)
        stack.callback(sink.close)
        with h5py.File(sink, "w", rdcc_nbytes=CACHE_BYTES, userblock_size=USER_BLOCK) as file:
            archive = AppendableArchive(file, sink, layout)
            yield archive
            archive.seal(attributes)
        sink.check()
        with temporary.open("r+b") as written:
            sign(written)


class AppendableArchive:
    """What `appendable_archive` hands out."""

    def __init__(self, file: h5py.File, sink: FullDiskFile, layout: Layout) -> None:
        self._file, self._sink, self._layout = file, sink, layout
        self._row_of_host: dict[bytes, int] = {}
        self._hashes = {key: hashlib.sha256() for key in layout}
        self._ends = {key: 0 for key in layout if is_offsets(*key)}
        self._datasets = {
            (table, name): create_appendable(file, table, name, dtype, known_column(table, name).tail)
            for (table, name), dtype in layout.items()
        }
        for table, name in self._ends:
            self._append(table, name, np.zeros(1, dtype=np.int64))

    def size(self, table: str) -> int:
        """Entries of a table so far; none of a table that the archive has not."""
        if (table, next(iter(TABLES[table]))) not in self._datasets:
            return 0
        return len(self._datasets[table, next(iter(TABLES[table]))])

    def append(self, block: Block) -> None:
        """Add the tasks of a block with all that belongs to them; hosts that are there already are not added again.

        Raises:
            OSError: the disk is full.
        """
        first_task = self.size("tasks")
        hosts, tasks, failures = block["hosts"], dict(block["tasks"]), dict(block["failures"])
        keys = [bytes.fromhex(name.decode("ascii")) for name in hosts["id"].tolist()]
        new = np.array([row for row, key in enumerate(keys) if key not in self._row_of_host], dtype=np.int64)
        for row in new:
            self._row_of_host[keys[row]] = len(self._row_of_host)
        tasks["host"] = np.array([self._row_of_host[key] for key in keys], dtype=np.int64)[tasks["host"]]
        failures["task"] = failures["task"] + first_task
        self._extend("hosts", take("hosts", hosts, new))
        for table in CHILDREN:
            if table in block:
                self._extend(table, block[table])
        self._extend("failures", failures)
        self._extend("tasks", tasks)
        self._sink.check()

    def seal(self, attributes: Mapping[str, Any]) -> None:
        """Write digests, attributes and checksum."""
        for key, running in self._hashes.items():
            self._datasets[key].attrs["sha256"] = np.bytes_(running.hexdigest())
        seal(self._file, attributes)

    def _extend(self, table: str, columns: Table) -> None:
        columns = {**columns, **self._absent(table, columns)}
        for name, values in columns.items():
            if not is_offsets(table, name):
                self._append(table, name, values)
            elif len(values) > 1:
                values = values[1:] - values[0] + self._ends[table, name]
                self._append(table, name, values)
                self._ends[table, name] = int(values[-1])

    def _absent(self, table: str, columns: Table) -> Table:
        """Columns that the archive has and these do not, filled with what says so."""
        rows = len(columns[next(iter(TABLES[table]))])
        absent = [name for where, name in self._layout if where == table and name not in columns]
        found: Table = {name: np.zeros(rows + 1, np.int64) for name in absent if is_offsets(table, name)}
        for name in absent:
            what = known_column(table, name)
            if name not in found:
                count = rows if what.per == ROW else int({**columns, **found}[what.per][-1])
                found[name] = filled(what, count)
        return found

    def _append(self, table: str, name: str, values: np.ndarray) -> None:
        if not len(values):
            return
        dataset = self._datasets[table, name]
        values = to_file(values, dataset.dtype)
        self._hashes[table, name].update(digest(values))
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values
