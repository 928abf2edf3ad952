"""Do two archives hold the same answer?  Tasks are matched by id; order, timing and workers do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .columns import Block, from_records, take
from .fields import ROW, Column
from .ragged_arrays import gather, offsets
from .read import Archive
from .records import TaskRecord
from .row_table import Table, filled
from .schema import CHILDREN, TABLES

_TOGETHER = 256
# Not part of the answer; a row of another file means nothing.
_APART = {("tasks", "worker"), ("tasks", "host"), ("failures", "task")}


@dataclass(frozen=True)
class ColumnDifference:
    """A column in which two archives differ.

    Attributes:
        name: 'table/column'; a table's own name where one of them has more entries of a task.
        rows: entries compared.
        different: entries that differ.
        largest: largest difference of two numbers, across cell boundaries for fractional coordinates;
            infinite where one of them has no number, NaN for texts.
    """

    name: str
    rows: int
    different: int
    largest: float


@dataclass(frozen=True)
class Comparison:
    """How far two archives agree.

    Attributes:
        tasks: tasks in both.
        only_first, only_second: tasks in one of them.
        different_status: tasks that are done in one and failed in the other.
        samples: samples of the tasks in both, by index.
        unpaired: samples in one of them only, or valid in one of them only.
        within_tolerance: samples whose guests are all within the tolerance.
        identical: samples that agree bit for bit.
        largest_distance: of any guest between the two in A; 0 without samples.
        columns: every stored column that differs in the tasks of both, but for times and names of workers.
    """

    tasks: int
    only_first: int
    only_second: int
    different_status: int
    samples: int
    unpaired: int
    within_tolerance: int
    identical: int
    largest_distance: float
    columns: tuple[ColumnDifference, ...] = ()

    @property
    def same_tasks(self) -> bool:
        """Whether both hold the same tasks with the same outcome."""
        return not (self.only_first or self.only_second or self.different_status)

    @property
    def fraction_within_tolerance(self) -> float:
        """Of all samples, paired or not; 1 if there are none."""
        return self.within_tolerance / self.samples if self.samples else 1.0

    @property
    def equal(self) -> bool:
        """Whether both hold the same tasks, and every column agrees bit for bit."""
        return self.same_tasks and not self.columns


def compare(first: str | Path, second: str | Path, tolerance: float = 1e-3) -> Comparison:
    """Compare two archives or result files sample by sample, in constant memory.

    Args:
        first, second: the files.
        tolerance: in A, of the distance of each guest to its counterpart, across cell boundaries.

    Raises:
        InputError: a file is not readable.
    """
    tally = dict.fromkeys(("tasks", "different_status", "samples", "unpaired", "within_tolerance", "identical"), 0)
    largest = 0.0
    columns: dict[str, ColumnDifference] = {}
    with Archive(first) as a, Archive(second) as b:
        for ours, theirs in _pairs(a, b):
            tally["tasks"] += len(ours)
            for record, other in zip(ours, theirs, strict=True):
                tally["different_status"] += record.status != other.status
                largest = max(largest, _compare_samples(record, other, tolerance, tally))
            for one in _compare_blocks(from_records(ours), from_records(theirs)):
                known = columns.get(one.name, ColumnDifference(one.name, 0, 0, one.largest))
                columns[one.name] = ColumnDifference(
                    one.name,
                    known.rows + one.rows,
                    known.different + one.different,
                    float(np.fmax(known.largest, one.largest)),
                )
        only = (len(a) - tally["tasks"], len(b) - tally["tasks"])
    different = tuple(one for one in columns.values() if one.different)
    return Comparison(only_first=only[0], only_second=only[1], largest_distance=largest, columns=different, **tally)


def _pairs(a: Archive, b: Archive) -> Iterator[tuple[list[TaskRecord], list[TaskRecord]]]:
    """The tasks that both have, some at a time, in the order of the first."""
    known = {task_id: row for row, task_id in enumerate(b.task_ids())}
    shared = [(row, known[task_id]) for row, task_id in enumerate(a.task_ids()) if task_id in known]
    for start in range(0, len(shared), _TOGETHER):
        part = shared[start : start + _TOGETHER]
        theirs = {record.task_id: record for record in b.iter_records([row for _, row in part])}
        ours = list(a.iter_records([row for row, _ in part]))
        yield ours, [theirs[record.task_id] for record in ours]


def _compare_blocks(first: Block, second: Block) -> Iterator[ColumnDifference]:
    """Columns of blocks of the same tasks in the same order; differences or none, of each that one of them has."""
    hosts = [take("hosts", block["hosts"], block["tasks"]["host"]) for block in (first, second)]
    yield from _compare_tables("hosts", *hosts)
    yield from _compare_tables("tasks", first["tasks"], second["tasks"])
    for table, name in CHILDREN.items():
        bounds = [
            block["tasks"].get(name, np.zeros(len(block["tasks"]["id"]) + 1, np.int64)) for block in (first, second)
        ]
        counts = [np.diff(ends) for ends in bounds]
        common = np.minimum(*counts)
        total = int(np.maximum(*counts).sum())
        yield ColumnDifference(table, total, total - int(common.sum()), np.nan)
        if common.any():
            rows = [np.repeat(ends[:-1] - offsets(common)[:-1], common) + np.arange(common.sum()) for ends in bounds]
            parts = [take(table, block[table], chosen) for block, chosen in zip((first, second), rows, strict=True)]
            yield from _compare_tables(table, *parts)
    if np.array_equal(first["failures"]["task"], second["failures"]["task"]):
        yield from _compare_tables("failures", first["failures"], second["failures"])


def _compare_tables(table: str, first: Table, second: Table) -> Iterator[ColumnDifference]:
    n = len(first[next(iter(TABLES[table]))])
    none = np.zeros(n + 1, dtype=np.int64)
    for name, what in TABLES[table].items():
        if (name not in first and name not in second) or (table, name) in _APART:
            continue
        if what.per == ROW:
            yield _difference(
                f"{table}/{name}", what, *(columns.get(name, filled(what, n)) for columns in (first, second))
            )
            continue
        bounds = [columns[what.per] if name in columns else none for columns in (first, second)]
        same = np.flatnonzero(np.diff(bounds[0]) == np.diff(bounds[1]))
        values = [
            columns[name][gather(ends, same)[0]] if name in columns else filled(what, 0)
            for columns, ends in zip((first, second), bounds, strict=True)
        ]
        found = _difference(f"{table}/{name}", what, *values)
        yield replace(found, rows=found.rows + n - len(same), different=found.different + n - len(same))


def _difference(name: str, what: Column, first: np.ndarray, second: np.ndarray) -> ColumnDifference:
    if what.dtype == "S":
        return ColumnDifference(name, len(first), int((first != second).sum()), np.nan)
    rows = tuple(range(1, first.ndim))
    equal = (first == second) | ((first != first) & (second != second))
    gap = first.astype(np.float64) - second.astype(np.float64)
    gap = np.abs(gap - np.round(gap) if name.endswith("frac_coords") else gap)
    one_sided = (np.isnan(first) != np.isnan(second)).any()
    largest = np.inf if one_sided else float(np.nanmax(gap, initial=0.0)) if not np.isnan(gap).all() else 0.0
    return ColumnDifference(name, len(first), int((~equal.all(axis=rows)).sum()), largest)


def _compare_samples(first: TaskRecord, second: TaskRecord, tolerance: float, tally: dict[str, int]) -> float:
    """Add the samples of a task to the tally; the largest distance of a guest."""
    a, b = first.samples, second.samples
    _, rows_a, rows_b = np.intersect1d(a["index"], b["index"], return_indices=True)
    total = len(a) + len(b) - len(rows_a)
    agree = a["valid"][rows_a] == b["valid"][rows_b]
    rows_a, rows_b = rows_a[agree], rows_b[agree]
    tally["samples"] += total
    tally["unpaired"] += total - len(rows_a)
    # What an impossible sample with NaN looks like is no part of the answer.
    there, here = a["guest_frac_coords"][rows_a], b["guest_frac_coords"][rows_b]
    finite = np.isfinite(there).all(axis=(1, 2)) & np.isfinite(here).all(axis=(1, 2))
    difference = np.where(finite[:, None, None], there - here, 0.0)
    distance = np.linalg.norm((difference - np.round(difference)) @ first.host.lattice, axis=2).max(axis=1, initial=0.0)
    tally["within_tolerance"] += int((distance <= tolerance).sum())
    tally["identical"] += int(((there == here).all(axis=(1, 2)) | ~finite).sum())
    return float(distance.max(initial=0.0))
