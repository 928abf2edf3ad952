"""The schema of result files and archives: tables, columns, units, and how a file's version is judged.

A file holds the tables /hosts, /tasks, /samples, /candidates and /failures, and may hold /sites.  Each is a group of
columns.  A column has one row per entry of its table, or it is ragged: rows `offsets[i]` to `offsets[i + 1] - 1` belong
to entry `i`, where `offsets` is the dataset that `Column.per` names.  docs/archive.md says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.errors import InputError

from .fields import ROW, Column, Row, stored_columns
from .records import TaskRecord
from .rows import Candidate, Failure, Host, Sample, Site

if TYPE_CHECKING:
    import h5py

SCHEMA = "inpaint_hpc archive"
SCHEMA_VERSION = "1.4"
OLDEST_WRITTEN = "1.2"


KINDS: dict[str, type[Row]] = {
    "hosts": Host,
    "tasks": TaskRecord,
    "samples": Sample,
    "candidates": Candidate,
    "sites": Site,
    "failures": Failure,
}
TABLES: dict[str, dict[str, Column]] = {table: stored_columns(kind) for table, kind in KINDS.items()}

SECONDS = "seconds_"
"""/tasks/seconds_STAGE, float64, wall time in s, one column per stage; NaN where a task had no such stage."""

CHILDREN = {"samples": "sample_offsets", "candidates": "candidate_offsets", "sites": "site_offsets"}
"""Entries of these tables belong to tasks: rows /tasks/OFFSETS[i] to OFFSETS[i + 1] - 1 to task i."""

OPTIONAL = ("sites",)
"""Tables that a file may lack, with their offsets in /tasks: no task has an entry."""

UNITS = {"length": "A", "energy": "eV", "force": "eV/A", "time": "s", "coordinates": "fractional"}


def column(table: str, name: str) -> Column | None:
    """The column /TABLE/NAME of the schema, also offsets and stages; None if the schema does not know it."""
    if name in TABLES[table]:
        return TABLES[table][name]
    if name in offsets_of(table) or (table == "tasks" and name in CHILDREN.values()):
        optional = name == "host_offsets" or (table == "tasks" and name in [CHILDREN[child] for child in OPTIONAL])
        return Column("i8", "rows of entry i end before entry i + 1 of this", optional=optional)
    if table == "tasks" and name.startswith(SECONDS):
        return Column("f8", "wall time of a stage", "s", optional=True, null=True)
    return None


def known_column(table: str, name: str) -> Column:
    """As `column`, of a dataset that the schema must know.

    Raises:
        KeyError: it does not.
    """
    found = column(table, name)
    if found is None:
        raise KeyError(f"/{table}/{name}")
    return found


def offsets_of(table: str) -> dict[str, list[str]]:
    """Offsets datasets of a table's own ragged columns, each with the columns it counts."""
    found: dict[str, list[str]] = {}
    for name, what in TABLES[table].items():
        if what.per != ROW:
            found.setdefault(what.per, []).append(name)
    return found


def tables_of(file: h5py.File) -> list[str]:
    """The tables of a file, in the schema's order."""
    return [table for table in TABLES if table not in OPTIONAL or table in file]


def required(file: h5py.File) -> Iterator[tuple[str, str]]:
    """(table, name) of every dataset that a file must have; of an optional table if any of it is there."""
    wanted = [t for t in TABLES if t not in OPTIONAL or t in file or f"tasks/{CHILDREN[t]}" in file]
    for table in wanted:
        columns = TABLES[table]
        for name, what in columns.items():
            if not what.optional:
                yield table, name
        for offsets, names in offsets_of(table).items():
            if not all(columns[name].optional for name in names):
                yield table, offsets
    for child, offsets in CHILDREN.items():
        if child in wanted:
            yield "tasks", offsets


def is_offsets(table: str, name: str) -> bool:
    """Whether /TABLE/NAME counts rows, and so has one more entry than its table."""
    return name in offsets_of(table) or (table == "tasks" and name in CHILDREN.values())


def check_version(file: h5py.File, path: Path, to_merge: bool = False) -> None:
    """Refuse what this version of the package cannot read, or, `to_merge`, cannot copy without loss.

    Raises:
        InputError: not a result file, or of a newer schema.
    """
    if str(file.attrs.get("schema", "")) != SCHEMA:
        raise InputError(f"{path}: is HDF5, but not a result file or archive of inpaint_hpc")
    version = str(file.attrs.get("schema_version", "missing"))
    parts = version.split(".")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"{path}: the file attribute schema_version is {version}; expected {SCHEMA_VERSION}")
    theirs, ours = ([int(part) for part in text.split(".")] for text in (version, SCHEMA_VERSION))
    if theirs[0] > ours[0] or (to_merge and theirs > ours):
        raise InputError(
            f"{path}: written by a newer inpaint_hpc (schema {version}, this one knows {SCHEMA_VERSION}); upgrade"
        )
    if theirs[0] < ours[0]:
        raise InputError(f"{path}: schema {version} is too old for this inpaint_hpc ({SCHEMA_VERSION})")


def version_of(names: Iterable[tuple[str, str]]) -> str:
    """The version to state in a file with these datasets (table, name): the first that has them all, so that versions
    before this one copy what they know whole."""
    known = (TABLES[table].get(name) for table, name in names)
    return max([OLDEST_WRITTEN, *(what.since for what in known if what is not None)])


def text_dtype(width: int) -> np.dtype:
    """HDF5 text of fixed width in UTF-8: compresses, needs no heap, and any tool reads it."""
    import h5py

    return h5py.string_dtype("utf-8", max(1, width))
