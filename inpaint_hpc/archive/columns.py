"""Tasks as columns: a `Block` is a stretch of a file's tables in memory, with everything that belongs to some tasks.

    block[table][name] -> array

Texts are UTF-8 bytes, dtype 'S'.  Offsets start at 0.  Rows of hosts are those the block's tasks use.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .ragged_arrays import gather, offsets, strings
from .records import TaskRecord
from .row_table import Rows, Table, joined
from .rows import Failure, Host
from .schema import CHILDREN, KINDS, OPTIONAL, ROW, SECONDS, column, is_offsets, offsets_of

if TYPE_CHECKING:
    import h5py

Block = dict[str, Table]

# Characters that are kept, the last ones: a column is as wide as its longest text.
_MAX_TRACEBACK = 20_000


def from_records(records: Sequence[TaskRecord]) -> Block:
    """Columns of records, at least one; hosts of equal content become one row, with the name of the first.

    Raises:
        ValueError: a stage whose name cannot name a column.
    """
    hosts: dict[str, Crystal] = {}
    for record in records:
        hosts.setdefault(record.host_id, record.host)
    row_of = {name: row for row, name in enumerate(hosts)}
    host_rows = np.array([row_of[record.host_id] for record in records], dtype=np.int64)
    failures = [
        Failure(task=row, attempts=r.attempts, error=r.error, traceback=r.traceback[-_MAX_TRACEBACK:])
        for row, r in enumerate(records)
        if r.failed
    ]
    block: Block = {
        "hosts": joined(Host, [Rows.of(Host, [_host_row(name, host) for name, host in hosts.items()], {})]),
        "tasks": joined(TaskRecord, [Rows.of(TaskRecord, records, {})], {"host": host_rows}) | _seconds(records),
    }
    for table, offsets_name in CHILDREN.items():
        parts = [getattr(record, table) for record in records]
        if table not in OPTIONAL or any(map(len, parts)):
            block["tasks"][offsets_name] = offsets([len(part) for part in parts])
            block[table] = joined(KINDS[table], parts)
    return block | {"failures": joined(Failure, [Rows.of(Failure, failures, {})])}


def to_records(block: Block) -> list[TaskRecord]:
    """The records of a block, in its order; the inverse of `from_records`."""
    tasks = block["tasks"]
    hosts = [host_of(block["hosts"], row) for row in range(len(block["hosts"]["id"]))]
    host_ids = strings(block["hosts"]["id"])
    failures = {failure.task: failure for failure in Rows(Failure, block["failures"])}
    stages = [name for name in tasks if name.startswith(SECONDS)]
    bounds = {table: tasks[name].tolist() for table, name in CHILDREN.items() if table in block}
    window = Rows(TaskRecord, tasks)
    records = []
    for row, host in enumerate(tasks["host"].tolist()):
        values = window.given(row) | {
            "host": hosts[host],
            "host_id": host_ids[host],
            "seconds": {
                name[len(SECONDS) :]: float(tasks[name][row]) for name in stages if not np.isnan(tasks[name][row])
            },
        }
        values |= {table: Rows(KINDS[table], block[table], *ends[row : row + 2]) for table, ends in bounds.items()}
        if row in failures:
            values |= {name: getattr(failures[row], name) for name in ("error", "traceback", "attempts")}
        records.append(TaskRecord(**values))
    return records


def read_block(file: h5py.File, start: int, stop: int) -> Block:
    """Tasks `start` to `stop - 1` of an open file with all that belongs to them.

    Raises:
        ValueError: offsets that run backwards or beyond their table, as in a damaged file.
    """
    tasks = read_rows(file["tasks"], "tasks", start, stop)
    block: Block = {"tasks": tasks}
    for table, name in CHILDREN.items():
        if name not in tasks:
            continue
        first, last = int(tasks[name][0]), int(tasks[name][-1])
        block[table] = read_rows(file[table], table, first, last)
        tasks[name] = tasks[name] - first
    rows, tasks["host"] = np.unique(tasks["host"], return_inverse=True)
    block["hosts"] = _scattered(file["hosts"], "hosts", rows)
    all_failures = file["failures/task"][:]
    first, last = np.searchsorted(all_failures, [start, stop])
    block["failures"] = read_rows(file["failures"], "failures", int(first), int(last))
    block["failures"]["task"] = block["failures"]["task"] - start
    return block


def read_rows(group: h5py.Group, table: str, start: int, stop: int) -> Table:
    """Entries `start` to `stop - 1` of a table, ragged columns included, offsets of these from 0.

    Offsets of a table's children stay as they are in the file.

    Raises:
        ValueError: offsets that run backwards or beyond their table.
    """
    known = {name: column(table, name) for name in group}
    found: Table = {}
    for name, what in known.items():
        if what is not None and what.per == ROW:
            found[name] = group[name][start : stop + 1 if is_offsets(table, name) else stop]
            if len(found[name]) != stop - start + is_offsets(table, name):
                raise ValueError(f"/{table}/{name} ends early")
            if is_offsets(table, name) and (found[name][0] < 0 or (np.diff(found[name]) < 0).any()):
                raise ValueError(f"/{table}/{name} runs backwards")
    for name, ragged in offsets_of(table).items():
        if name not in found:
            continue
        first, last = int(found[name][0]), int(found[name][-1])
        for column_name in ragged:
            if column_name in known:
                found[column_name] = group[column_name][first:last]
                if len(found[column_name]) != last - first:
                    raise ValueError(f"/{table}/{column_name} ends early")
        found[name] = found[name] - first
    return found


def take(table: str, columns: Table, rows: np.ndarray) -> Table:
    """Some entries of a table with their ragged columns; offsets of children are left out."""
    found: Table = {}
    for name, values in columns.items():
        what = column(table, name)
        if what is not None and what.per == ROW and not is_offsets(table, name):
            found[name] = values[rows]
    for name, ragged in offsets_of(table).items():
        if name in columns:
            flat, found[name] = gather(columns[name], rows)
            found.update({other: columns[other][flat] for other in ragged if other in columns})
    return found


def select(block: Block, rows: np.ndarray) -> Block:
    """Some tasks of a block with all that belongs to them."""
    tasks = take("tasks", block["tasks"], rows)
    chosen: Block = {"tasks": tasks}
    for table, name in CHILDREN.items():
        if table not in block:
            continue
        flat, tasks[name] = gather(block["tasks"][name], rows)
        chosen[table] = take(table, block[table], flat)
    hosts, tasks["host"] = np.unique(tasks["host"], return_inverse=True)
    chosen["hosts"] = take("hosts", block["hosts"], hosts)
    new_row = {int(row): new for new, row in enumerate(rows)}
    kept = [i for i, task in enumerate(block["failures"]["task"]) if int(task) in new_row]
    kept.sort(key=lambda i: new_row[int(block["failures"]["task"][i])])
    failures = take("failures", block["failures"], np.array(kept, dtype=np.int64))
    failures["task"] = np.array([new_row[int(task)] for task in failures["task"]], dtype=np.int64)
    chosen["failures"] = failures
    return chosen


def host_of(hosts: Table, row: int) -> Crystal:
    """The crystal of a row of a block's hosts."""
    host = Rows(Host, hosts)[row]
    return Crystal(host.numbers, host.frac_coords, host.lattice, host.name, json.loads(host.info))


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numpy becomes plain, NaN and infinity null, anything strange text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item) for item in value]
    return str(value)


def _host_row(name: str, crystal: Crystal) -> Host:
    return Host(
        id=name,
        name=crystal.name,
        lattice=crystal.lattice,
        info=json.dumps(plain(crystal.info), sort_keys=True, allow_nan=False),
        numbers=crystal.numbers,
        frac_coords=crystal.frac_coords,
    )


def _seconds(records: Sequence[TaskRecord]) -> Table:
    stages = sorted({stage for record in records for stage in record.seconds})
    for stage in stages:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", stage):
            raise ValueError(f"a stage must be a lower-case word, not {stage!r}")
    return {SECONDS + stage: np.array([r.seconds.get(stage, np.nan) for r in records]) for stage in stages}


def _scattered(group: h5py.Group, table: str, rows: np.ndarray) -> Table:
    """Entries of increasing rows that may lie far apart: stretches are read where they are close."""
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(group["id"])):
        raise ValueError(f"row {int(rows[-1])} of /{table} does not exist")
    breaks = np.flatnonzero(np.diff(rows) > 16) + 1
    parts = []
    for near in np.split(rows, breaks) if len(rows) else []:
        stretch = read_rows(group, table, int(near[0]), int(near[-1]) + 1)
        parts.append(take(table, stretch, near - near[0]))
    return join(table, parts) if parts else read_rows(group, table, 0, 0)


def join(table: str, parts: Sequence[Table]) -> Table:
    """Tables with the same columns, one after another."""
    found: Table = {}
    for name in parts[0]:
        if is_offsets(table, name):
            found[name] = offsets(np.concatenate([np.diff(part[name]) for part in parts]))
        else:
            found[name] = np.concatenate([part[name] for part in parts])
    return found
