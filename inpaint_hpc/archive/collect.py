"""Merging the result files of a run into one archive, in memory that does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.errors import InputError

from .append import AppendableArchive, Layout, appendable_archive, widened
from .columns import read_block, select
from .fields import stored_columns
from .row_table import Rows, Table, joined
from .rows import Provenance
from .schema import TABLES, column, tables_of
from .storage import DamagedError, attributes_of, open_file, readable, verify_checksum

Progress = Callable[[str, int, int], None]
"""(stage, done, total) with stage 'check' or 'merge', counted in files."""
Origin = Callable[[Mapping[str, Any]], Provenance | None]
"""Attributes of a file -> where its tasks are from; None where they do not tell."""

_BLOCK = 1024
_SHOWN = 10
# What says something about one file only.
_OWN = ("schema", "schema_version", "units", "created", "unit", *(f"n_{table}" for table in TABLES))


@dataclass(frozen=True)
class CollectReport:
    """What `collect` put into the archive, and what it could not.

    Attributes:
        path: the archive.
        files: result files that were read.
        tasks, done, failed: tasks in the archive, and how they ended.
        samples, candidates, hosts: what else is in it.
        duplicates: results left out because the archive holds another one of the same task.
        unexpected: results left out because their task is not one of those expected.
        expected: number of tasks expected; None if that was not said.
        missing: how many of them have no result.
        missing_ids: the first ten of these.
        damaged: one line for each result file that was left out.
    """

    path: Path
    files: int
    tasks: int
    done: int
    failed: int
    samples: int
    candidates: int
    hosts: int
    duplicates: int
    unexpected: int
    expected: int | None
    missing: int
    missing_ids: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, as far as one can know."""
        return not self.missing if self.expected is not None else not self.damaged


def collect(
    result_paths: Sequence[str | Path],
    out: str | Path,
    attributes: Mapping[str, Any] | None = None,
    expected_task_ids: Sequence[str] | np.ndarray | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    origin: Origin | None = None,
) -> CollectReport:
    """Merge result files (or archives) into one archive, atomically: an existing archive stays until the end.

    A task with several results is taken once: rather done than failed, otherwise from the first file.  Tasks come in
    the order of the files; equal hosts are stored once.  Attributes on which all files agree are kept.

    Args:
        result_paths: files that `write_result` or `collect` wrote.
        out: the archive.
        attributes: added to those of the files; with `weights_sha256`, files must be of these weights.
        expected_task_ids: the ids that a complete archive has, hexadecimal or as bytes, uint8 (N, 32); results of
            other tasks are left out.
        strict: refuse damaged files and missing tasks instead of reporting them.
        progress: called with (stage, done, total).
        origin: says where the tasks of a file are from that does not say it task by task (before schema 1.3).

    Raises:
        InputError: no results at all, files of different weights, or of a schema that this version cannot copy; with
            `strict` also what the report would say is damaged or missing.
        OSError: the archive cannot be written, e.g. the disk is full; an existing one is left as it is.
    """
    paths, out = [Path(path) for path in result_paths], Path(out)
    if not paths:
        raise InputError(f"{out}: no result files to collect; has any unit of the run finished?")
    found = _survey(paths, dict(attributes or {}), strict, progress, origin)
    expected = None if expected_task_ids is None else np.unique(task_ids(expected_task_ids))
    chosen, duplicates, unexpected = _chosen(found, expected)
    missing = np.zeros(0, dtype="S64") if expected is None else np.setdiff1d(expected, found.ids[chosen])
    if strict and len(missing) and expected is not None:
        raise InputError(f"{out}: not written, {len(missing)} of {len(expected)} tasks have no result yet")
    if not len(chosen):
        raise InputError(
            f"{out}: nothing to collect, {found.damaged[0] if found.damaged else 'the files hold no expected task'}"
        )
    content = {**found.attributes, **(attributes or {}), "complete": not len(missing) and not found.damaged}
    if expected is not None:
        content |= {"n_expected": len(expected), "complete": not len(missing)}
    with appendable_archive(out, found.layout, content) as archive:
        _merge(found, np.sort(chosen), archive, progress)
        sizes = {table: archive.size(table) for table in TABLES}
    return CollectReport(
        path=out,
        files=len(found.paths),
        tasks=sizes["tasks"],
        done=sizes["tasks"] - sizes["failures"],
        failed=sizes["failures"],
        samples=sizes["samples"],
        candidates=sizes["candidates"],
        hosts=sizes["hosts"],
        duplicates=duplicates,
        unexpected=unexpected,
        expected=None if expected is None else len(expected),
        missing=len(missing),
        missing_ids=tuple(text.decode("ascii") for text in missing[:_SHOWN].tolist()),
        damaged=tuple(found.damaged),
    )


def task_ids(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Ids in any form, hexadecimal text or 32 bytes each, as hexadecimal 'S64'.

    Raises:
        ValueError: not ids.
    """
    array = np.asarray(ids)
    if array.dtype.kind == "V" and array.dtype.itemsize == 32:
        array = np.ascontiguousarray(array).view(np.uint8).reshape(-1, 32)
    if array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == 32:
        digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
        pairs = np.stack([digits[array >> 4], digits[array & 15]], axis=2)
        return np.ascontiguousarray(pairs).reshape(len(array), 64).view("S64").reshape(-1)
    if len(array) == 0:
        return np.zeros(0, dtype="S64")
    array = np.asarray([text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()], "S")
    if array.dtype.itemsize != 64:
        raise ValueError("task ids must have 64 hexadecimal digits or 32 bytes")
    return array


@dataclass
class _Survey:
    """What a first look at all files found; `ids`, `failed`, `file` and `row` have one entry per result, `provenance`
    has the columns that a file lacks, one row for all of its tasks."""

    paths: list[Path]
    damaged: list[str]
    layout: Layout
    attributes: dict[str, Any]
    provenance: list[Table]
    ids: np.ndarray
    failed: np.ndarray
    file: np.ndarray
    row: np.ndarray


def _survey(
    paths: Sequence[Path],
    attributes: dict[str, Any],
    strict: bool,
    progress: Progress | None,
    origin: Origin | None,
) -> _Survey:
    """Check every byte of every file, and note which tasks they hold."""
    good: list[Path] = []
    broken: list[str] = []
    layout: Layout = {}
    common: dict[str, Any] | None = None
    reference: tuple[Any, Any] | None = (
        ("the run", attributes["weights_sha256"]) if "weights_sha256" in attributes else None
    )
    ids, failed = [], []
    provenance: list[Table] = []
    for done, path in enumerate(paths):
        try:
            verify_checksum(path)
            with open_file(path, to_merge=True) as file, readable(path):
                its = {key: value for key, value in attributes_of(file).items() if key not in _OWN}
                weights = (path, its.get("weights_sha256"))
                reference = reference or weights
                _same_weights(reference, weights)
                added = _provenance_columns(file, its, origin)
                more: Layout = {("tasks", name): values.dtype for name, values in added.items()}
                layout = widened(layout, _layout(file) | more)
                ids.append(file["tasks/id"][:].astype("S64"))
                failed.append(file["tasks/status"][:] == b"failed")
            common = its if common is None else {k: v for k, v in common.items() if k in its and its[k] == v}
            good.append(path)
            provenance.append(added)
        except DamagedError as error:
            if strict:
                raise
            broken.append(str(error))
        if progress is not None:
            progress("check", done + 1, len(paths))
    counts = [len(part) for part in ids]
    return _Survey(
        paths=good,
        damaged=broken,
        layout=layout,
        attributes=common or {},
        provenance=provenance,
        ids=np.concatenate([np.zeros(0, "S64"), *ids]),
        failed=np.concatenate([np.zeros(0, bool), *failed]),
        file=np.repeat(np.arange(len(good)), counts),
        row=np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)]),
    )


def _chosen(found: _Survey, expected: np.ndarray | None) -> tuple[np.ndarray, int, int]:
    """Which results go into the archive; how many are left out as duplicates and as unexpected."""
    unique, task = np.unique(found.ids, return_inverse=True)
    order = np.lexsort((np.arange(len(task)), found.failed, task))
    chosen = order[np.flatnonzero(np.diff(task[order], prepend=-1))]
    duplicates, unexpected = len(task) - len(chosen), 0
    if expected is not None:
        keep = np.isin(unique, expected, assume_unique=True)
        unexpected = int((~keep).sum())
        chosen = chosen[keep]
    return chosen, duplicates, unexpected


def _merge(found: _Survey, chosen: np.ndarray, archive: AppendableArchive, progress: Progress | None) -> None:
    """Copy the chosen results, which are in the order of the files."""
    ends = np.searchsorted(found.file[chosen], np.arange(len(found.paths)), side="right")
    for index, wanted in enumerate(np.split(found.row[chosen], ends[:-1])):
        path = found.paths[index]
        if len(wanted):
            with open_file(path, to_merge=True) as file:
                n_tasks = len(file["tasks/id"])
                for start in range(0, n_tasks, _BLOCK):
                    stop = min(start + _BLOCK, n_tasks)
                    part = wanted[slice(*np.searchsorted(wanted, [start, stop]))] - start
                    if len(part):
                        # Only reading: an error of writing is no fault of this file.
                        with readable(path):
                            block = read_block(file, start, stop)
                        for name, values in found.provenance[index].items():
                            block["tasks"][name] = np.repeat(values, stop - start)
                        archive.append(select(block, part) if len(part) < stop - start else block)
        if progress is not None:
            progress("merge", index + 1, len(found.paths))


def _provenance_columns(file: Any, attributes: dict[str, Any], origin: Origin | None) -> Table:
    """Where the tasks of a file are from, one row for all of them; nothing where they say it themselves."""
    if origin is None or any(f"tasks/{name}" in file for name in stored_columns(Provenance)):
        return {}
    known = origin(attributes)
    return {} if known is None else joined(Provenance, [Rows.of(Provenance, [known], {})])


def _same_weights(reference: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    if reference[1] != other[1]:
        names = [str(digest)[:12] if digest else "none" for _, digest in (reference, other)]
        raise InputError(
            f"{other[0]}: made with other weights ({names[1]}) than {reference[0]} ({names[0]}); "
            "collect them into separate archives, or remove the file and resume the run"
        )


def _layout(file: Any) -> Layout:
    return {
        (table, name): np.dtype(f"S{dataset.dtype.itemsize}") if dataset.dtype.kind == "S" else dataset.dtype
        for table in tables_of(file)
        for name, dataset in file[table].items()
        if column(table, name) is not None
    }
