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

from .fields import Rows, Table, joined
from .ragged_arrays import gather, offsets, strings, texts
from .records import TaskRecord
from .rows import Candidate, Sample, Site
from .schema import CHILDREN, ROW, SECONDS, column, is_offsets, offsets_of

if TYPE_CHECKING:
    import h5py

Block = dict[str, Table]

# Longest texts that are kept: a column is as wide as its longest text.
_MAX_ERROR, _MAX_NOTES, _MAX_TRACEBACK = 1000, 4000, 20_000


def from_records(records: Sequence[TaskRecord]) -> Block:
    """Columns of records, at least one; hosts of equal content become one row, with the name of the first.

    Raises:
        ValueError: a stage whose name cannot name a column.
    """
    hosts: dict[str, Crystal] = {}
    for record in records:
        hosts.setdefault(record.host_id, record.host)
    row_of = {name: row for row, name in enumerate(hosts)}
    failed = [(row, record) for row, record in enumerate(records) if record.failed]
    sites = [record.sites for record in records]
    with_sites = any(len(part) for part in sites)
    return {
        "hosts": _hosts(hosts),
        "tasks": {
            "id": texts([r.task_id for r in records]),
            "host": np.array([row_of[r.host_id] for r in records], dtype=np.int64),
            "status": texts([r.status for r in records]),
            "n_requested": np.array([r.n_requested for r in records], dtype=np.int64),
            "worker": texts([r.worker for r in records]),
            "notes": texts(["\n".join(r.notes) for r in records], _MAX_NOTES),
            "guests": np.array([z for r in records for z in r.guests], dtype=np.uint8),
            "guest_offsets": offsets([len(r.guests) for r in records]),
            "sample_offsets": offsets([len(r.samples) for r in records]),
            "candidate_offsets": offsets([len(r.candidates) for r in records]),
            **_seconds(records),
            **_references(records),
            **({"site_offsets": offsets([len(part) for part in sites])} if with_sites else {}),
        },
        "samples": joined(Sample, [record.samples for record in records]),
        "candidates": joined(Candidate, [record.candidates for record in records]),
        **({"sites": joined(Site, sites)} if with_sites else {}),
        "failures": {
            "task": np.array([row for row, _ in failed], dtype=np.int64),
            "attempts": np.array([r.attempts for _, r in failed], dtype=np.int64),
            "error": texts([" ".join(r.error.split()) for _, r in failed], _MAX_ERROR),
            "traceback": texts([r.traceback[-_MAX_TRACEBACK:] for _, r in failed]),
        },
    }


def to_records(block: Block) -> list[TaskRecord]:
    """The records of a block, in its order; the inverse of `from_records`."""
    tasks = block["tasks"]
    hosts = [host_of(block["hosts"], row) for row in range(len(block["hosts"]["id"]))]
    host_ids = strings(block["hosts"]["id"])
    ids, status, workers, notes = (strings(tasks[name]) for name in ("id", "status", "worker", "notes"))
    failures = {int(task): row for row, task in enumerate(block["failures"]["task"])}
    stages = [name for name in tasks if name.startswith(SECONDS)]
    bounds, shown = tasks["sample_offsets"].tolist(), tasks["candidate_offsets"].tolist()
    orbits = tasks["site_offsets"].tolist() if "sites" in block else []
    records = []
    for row, task_id in enumerate(ids):
        guests = tuple(_rows(tasks, "guest_offsets", "guests", row).tolist())
        failure = {}
        reference = None
        if "reference_frac_coords" in tasks:
            reference = _rows(tasks, "guest_offsets", "reference_frac_coords", row)
        if row in failures:
            found, at = block["failures"], failures[row]
            failure = {name: found[name][at].decode("utf-8") for name in ("error", "traceback")}
            failure["attempts"] = int(found["attempts"][at])
        records.append(
            TaskRecord(
                task_id=task_id,
                host=hosts[tasks["host"][row]],
                guests=guests,
                n_requested=int(tasks["n_requested"][row]),
                status=status[row],
                samples=Rows(Sample, block["samples"], *bounds[row : row + 2]),
                candidates=Rows(Candidate, block["candidates"], *shown[row : row + 2]),
                sites=Rows(Site, block["sites"], *orbits[row : row + 2]) if orbits else (),
                seconds={
                    name[len(SECONDS) :]: float(tasks[name][row]) for name in stages if not np.isnan(tasks[name][row])
                },
                worker=workers[row],
                notes=tuple(notes[row].split("\n")) if notes[row] else (),
                reference_frac_coords=None if reference is None or np.isnan(reference).all() else reference,
                host_id=host_ids[tasks["host"][row]],
                **failure,
            )
        )
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
    return Crystal(
        _rows(hosts, "atom_offsets", "numbers", row),
        _rows(hosts, "atom_offsets", "frac_coords", row),
        hosts["lattice"][row],
        hosts["name"][row].decode("utf-8"),
        json.loads(hosts["info"][row].decode("utf-8")),
    )


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


def _rows(columns: Table, offsets_name: str, name: str, row: int) -> np.ndarray:
    return columns[name][columns[offsets_name][row] : columns[offsets_name][row + 1]]


def _hosts(hosts: dict[str, Crystal]) -> Table:
    crystals = list(hosts.values())
    return {
        "id": texts(list(hosts)),
        "name": texts([c.name for c in crystals]),
        "lattice": np.stack([c.lattice for c in crystals]),
        "info": texts([json.dumps(plain(c.info), sort_keys=True, allow_nan=False) for c in crystals]),
        "numbers": _cat([c.numbers for c in crystals], np.uint8),
        "frac_coords": _cat([c.frac_coords for c in crystals], np.float64),
        "atom_offsets": offsets([len(c) for c in crystals]),
    }


def _seconds(records: Sequence[TaskRecord]) -> Table:
    stages = sorted({stage for record in records for stage in record.seconds})
    for stage in stages:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", stage):
            raise ValueError(f"a stage must be a lower-case word, not {stage!r}")
    return {SECONDS + stage: np.array([r.seconds.get(stage, np.nan) for r in records]) for stage in stages}


def _references(records: Sequence[TaskRecord]) -> Table:
    given = [record.reference_frac_coords for record in records]
    if all(reference is None for reference in given):
        return {}
    unknown = [np.full((len(record.guests), 3), np.nan) for record in records]
    return {"reference_frac_coords": _cat([u if r is None else r for r, u in zip(given, unknown, strict=True)], "f8")}


def _cat(arrays: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(array, dtype=dtype) for array in arrays])


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
