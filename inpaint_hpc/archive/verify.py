"""Checking result files and archives: every byte, every count, every range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.errors import InputError

from .checks import block_problems
from .columns import read_block
from .schema import CHILDREN, ROW, TABLES, column, is_offsets, offsets_of, tables_of
from .storage import damaged, open_file, readable, verify_bytes

if TYPE_CHECKING:
    import h5py

_BLOCK = 1024
_ROWS = 1 << 19


def verify(path: str | Path) -> list[str]:
    """What is wrong with a result file or archive, one line each, the file's name first; empty when all is well.

    Checked are the checksums of all bytes, the lengths of all columns, that offsets fit what they count, that ids of
    tasks and hosts are unique, and every value: positions and distances finite, guests in [0, 1), energies finite or
    explicitly NaN, host ids the sha256 of their content, and so on.  Reads the file three times, in memory that
    grows only with the number of tasks and hosts, 64 bytes each.
    """
    path = Path(path)
    try:
        verify_bytes(path)
        with open_file(path) as file, readable(path):
            return [f"{path}: {problem}" for problem in _problems(file)]
    except InputError as error:
        return [str(error)]


def _problems(file: h5py.File) -> list[str]:
    found = [f"the checksum of {what} does not hold" for what in damaged(file)]
    # What follows may rely on the bytes, then on the counts.
    found = found or [problem for table in tables_of(file) for problem in _lengths(file, table)]
    if found:
        return found
    for table in ("tasks", "hosts"):
        ids = np.sort(file[f"{table}/id"][:])
        again = ids[1:][ids[1:] == ids[:-1]]
        if len(again):
            found.append(f"/{table}/id holds {again[0].decode('utf-8')} more than once")
    n_tasks = len(file["tasks/id"])
    if not n_tasks:
        found.append("holds no tasks")
    for start in range(0, n_tasks, _BLOCK):
        found += block_problems(read_block(file, start, min(start + _BLOCK, n_tasks)))
    return found


def _lengths(file: h5py.File, table: str) -> Iterator[str]:
    group = file[table]
    rows = len(group[next(iter(TABLES[table]))])
    if int(file.attrs.get(f"n_{table}", -1)) != rows:
        yield f"/{table} has {rows} entries, the attribute n_{table} says {file.attrs.get(f'n_{table}')}"
    for name in group:
        what = column(table, name)
        if what is not None and what.per == ROW:
            expected = rows + 1 if is_offsets(table, name) else rows
            if len(group[name]) != expected:
                yield f"/{table}/{name} has {len(group[name])} rows, not {expected}"
                return
    counted = {
        name: {other: len(group[other]) for other in others if other in group}
        for name, others in offsets_of(table).items()
    }
    if table == "tasks":
        for child, name in CHILDREN.items():
            if child not in file:
                continue
            counted[name] = {f"../{child}": len(file[child][next(iter(TABLES[child]))])}
    for name, columns in counted.items():
        if name in group:
            yield from _offsets(group[name], columns, f"/{table}/")
        elif columns:
            yield f"/{table}/{name} is missing"


def _offsets(dataset: h5py.Dataset, columns: dict[str, int], place: str) -> Iterator[str]:
    last = 0
    for start in range(0, len(dataset), _ROWS):
        values = dataset[start : start + _ROWS]
        if (start == 0 and values[0] != 0) or values[0] < last or (np.diff(values) < 0).any():
            yield f"{dataset.name} does not start at 0 or runs backwards"
            return
        last = int(values[-1])
    for name, length in columns.items():
        if length != last:
            yield f"{place}{name} has {length} rows, {dataset.name} counts {last}"
