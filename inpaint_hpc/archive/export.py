"""Structures and tables out of an archive, for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.writing import FORMATS as STRUCTURE_FORMATS
from inpaint_hpc.crystals.writing import safe_name, write_structure
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .read import Archive
from .records import TaskRecord
from .schema import ROW, TABLES
from .table_values import formula_of

if TYPE_CHECKING:
    from ase import Atoms

FORMATS = ("cif", "poscar", "extxyz", "json", "csv", "parquet")
SINGLE_FILE = ("extxyz", "csv", "parquet")
_GROUP = 2000
_KIND = ("potential", "treatment")


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: the file or folder.
        candidates: structures or rows.
        tasks: tasks they come from.
        without: tasks that were asked for and have no candidate (failed, or no sample was possible).
    """

    path: Path
    candidates: int
    tasks: int
    without: int


@dataclass(frozen=True)
class Selection:
    """Which candidates are written.

    Attributes:
        top: only the best so many candidates of each task; None takes all.
        tasks: only these tasks, as `Archive.number` takes them.
        hosts: only tasks whose host's name fits one of these patterns, e.g. 'mp-*'.
        guests: only tasks that place all of these elements.
        relaxed: the structures after relaxation; candidates that were not relaxed are left out.  Tables hold both.

    Raises:
        InputError: `top` below 1.
    """

    top: int | None = 1
    tasks: Sequence[int | str] | None = None
    hosts: Sequence[str] | None = None
    guests: Sequence[str] | None = None
    relaxed: bool = False

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise InputError(f"top must be at least 1, not {self.top}")


def export(
    archive: Archive | str | Path,
    out: str | Path,
    format: str,
    selection: Selection | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write candidates of an archive to files, in memory that does not depend on their number.

    'cif', 'poscar' and 'json' (pymatgen) write one file each: OUT/<host>/<guests>-<task>-rank-000.cif, where <task>
    is the start of the task's id.  'extxyz' writes one file of all structures with their columns, guests marked in the
    per-atom column `guest`.  'csv' and 'parquet' write one table with a row per candidate.

    Args:
        archive: the archive or its path.
        out: a folder for formats of one file each, otherwise a file.
        format: one of `FORMATS`.
        selection: which candidates; by default the best of each task, as placed.
        progress: called with (done, total) tasks.

    Raises:
        InputError: an unknown format or task, nothing that fits, or pyarrow is not installed and 'parquet' needs it.
        OSError: a file cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format '{format}'; choose one of {', '.join(FORMATS)}")
    chosen = selection or Selection()
    out = Path(out)
    if format in SINGLE_FILE and out.is_dir():
        raise InputError(f"{out}: is a folder; {format} goes into one file, e.g. {out / f'candidates.{format}'}")
    if format not in SINGLE_FILE and out.is_file():
        raise InputError(f"{out}: is a file; {format} goes into a folder, one file per structure")
    if not isinstance(archive, Archive):
        with Archive(archive) as opened:
            return export(opened, out, format, chosen, progress)
    numbers = _numbers(archive, chosen)
    written = with_any = 0
    with _WRITERS[format](out, format, archive) as write:
        for done, record in enumerate(archive.iter_records(numbers)):
            ranks = list(range(len(record.candidates))[: chosen.top])
            if chosen.relaxed and format not in ("csv", "parquet"):
                found = record.candidates["relaxed_guest_frac_coords"]
                ranks = [] if found is None else [rank for rank in ranks if np.isfinite(found[rank]).all()]
            write(record, ranks, chosen.relaxed)
            written += len(ranks)
            with_any += len(ranks) > 0
            if progress is not None:
                progress(done + 1, len(numbers))
        if not written:
            what = "relaxed candidate" if chosen.relaxed else "candidate"
            raise InputError(f"{archive.path}: none of the {len(numbers)} tasks asked for has a {what} to export")
    return ExportReport(out, written, with_any, len(numbers) - with_any)


def export_ranks(archive: Archive, out: str | Path, format: str, ranks: Mapping[int, Sequence[int]]) -> None:
    """Write the table, 'csv' or 'parquet', of the candidates with these ranks of each task, by its number.

    Raises:
        InputError: `out` is a folder, or pyarrow is not installed and 'parquet' needs it.
    """
    if Path(out).is_dir():
        raise InputError(f"{out}: is a folder; {format} goes into one file")
    with _WRITERS[format](Path(out), format, archive) as write:
        numbers = np.array(sorted(ranks), dtype=np.int64)
        for number, record in zip(numbers.tolist(), archive.iter_records(numbers), strict=True):
            write(record, ranks[number], False)


def _numbers(archive: Archive, chosen: Selection) -> np.ndarray:
    """Numbers of the tasks that fit."""
    from ase.data import atomic_numbers

    tasks, hosts, guests = chosen.tasks, chosen.hosts, chosen.guests
    numbers = np.arange(len(archive)) if tasks is None else np.unique([archive.number(task) for task in tasks])
    unknown = [symbol for symbol in guests or () if symbol not in atomic_numbers]
    if unknown:
        raise InputError(f"unknown element '{unknown[0]}': give a symbol such as Li")
    if hosts is None and guests is None:
        return numbers
    names, labels = archive.task_labels()
    kept = [
        number
        for number in numbers
        if (hosts is None or any(fnmatchcase(names[number], pattern) for pattern in hosts))
        and (guests is None or set(guests) <= {part.split("=")[0] for part in labels[number].split()})
    ]
    if not kept:
        wanted = " ".join([*(hosts or ()), *(guests or ())])
        raise InputError(f"{archive.path}: none of its {len(archive)} tasks fits {wanted}")
    return np.array(kept)


@contextmanager
def _structure_files(out: Path, format: str, archive: Archive) -> Iterator[Callable]:
    def write(record: TaskRecord, ranks: Sequence[int], relaxed: bool) -> None:
        guests = _guest_label(record).replace("=", "").replace(" ", "")
        for rank in ranks:
            name = f"{guests}-{record.task_id[:10]}-rank-{rank:03d}{STRUCTURE_FORMATS[format]}"
            write_structure(record.crystal(rank, relaxed), out / safe_name(record.host.name) / name, format)

    yield write


@contextmanager
def _extxyz(out: Path, format: str, archive: Archive) -> Iterator[Callable]:
    from ase.io.extxyz import write_extxyz

    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as file:

        def write(record: TaskRecord, ranks: Sequence[int], relaxed: bool) -> None:
            for rank in ranks:
                write_extxyz(file, [_atoms(record, rank, relaxed)])

        yield write


@contextmanager
def _csv(out: Path, format: str, archive: Archive) -> Iterator[Callable]:
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        names = _columns(archive)
        writer = csv.writer(file)
        writer.writerow(names)

        def write(record: TaskRecord, ranks: Sequence[int], relaxed: bool) -> None:
            for row in _rows(record, ranks, names):
                writer.writerow([json.dumps(value) if isinstance(value, list) else value for value in row.values()])

        yield write


@contextmanager
def _parquet(out: Path, format: str, archive: Archive) -> Iterator[Callable]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("parquet needs pyarrow: `pip install pyarrow`, or choose --format csv") from error
    schema = _arrow_schema(pyarrow, _columns(archive))
    waiting: list[dict[str, Any]] = []
    with atomic_path(out) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        def write(record: TaskRecord, ranks: Sequence[int], relaxed: bool) -> None:
            waiting.extend(_rows(record, ranks, schema.names))
            if len(waiting) >= _GROUP:
                flush()

        yield write
        flush()


_WRITERS = {
    "cif": _structure_files,
    "poscar": _structure_files,
    "json": _structure_files,
    "extxyz": _extxyz,
    "csv": _csv,
    "parquet": _parquet,
}


def _guest_label(record: TaskRecord) -> str:
    from ase.data import chemical_symbols

    return " ".join(f"{chemical_symbols[z]}={record.guests.count(z)}" for z in dict.fromkeys(record.guests))


def _atoms(record: TaskRecord, rank: int, relaxed: bool) -> Atoms:
    crystal = record.crystal(rank, relaxed)
    atoms = crystal.to_atoms()
    atoms.new_array("guest", np.arange(len(crystal)) >= len(record.host))
    found = record.candidates
    columns = {
        "name": record.host.name,
        "task": record.task_id,
        "guests": _guest_label(record),
        "rank": rank,
        "agreement": found.value("agreement", rank),
    }
    # An energy keeps the name that says of which structure it is.
    name = "relaxed_energy_per_atom_eV" if relaxed else "energy_per_atom_eV"
    energy = found.value(name, rank)
    if energy is not None:
        columns[name] = energy
        columns |= _kind(record)
    atoms.info.update(columns)
    return atoms


def _kind(record: TaskRecord) -> dict[str, str]:
    """By which potential and treatment energies of a task were computed; nothing where it is not known."""
    known = record.provenance
    return {} if known is None else {name: getattr(known, name) for name in _KIND if getattr(known, name)}


def _columns(archive: Archive) -> list[str]:
    """Columns of a table: of the task, then those of /candidates that are one value each, then those of its guests."""
    known = {name: what for name, what in TABLES["candidates"].items() if archive.has_column("candidates", name)}
    single = [name for name, what in known.items() if what.per == ROW and not what.tail]
    guests = [name for name, what in known.items() if what.per == "guest_offsets"]
    kind = [name for name in _KIND if archive.has_column("tasks", name)]
    return ["task", "host", "formula", "guests", "n_samples", "n_valid", *kind, *single, *guests]


def _rows(record: TaskRecord, ranks: Sequence[int], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of a table; what is known of the task is found once for all of its candidates."""
    found, kind = record.candidates, _kind(record)
    of_task: dict[str, Any] = {
        "task": record.task_id,
        "host": record.host.name,
        "formula": formula_of(record.host.numbers),
        "guests": _guest_label(record),
        "n_samples": len(record.samples),
        "n_valid": record.n_valid,
        **{name: kind.get(name, "") for name in _KIND if name in names},
    }
    columns = {name: found.listed(name) for name in names[len(of_task) :]}
    for rank in ranks:
        row = dict(of_task)
        for name, values in columns.items():
            value = values[rank]
            row[name] = value.tolist() if isinstance(value, np.ndarray) else [*value] if type(value) is tuple else value
        yield row


def _arrow_schema(pyarrow: Any, names: Sequence[str]) -> Any:
    """Types of a table's columns, with unit and description beside those of /candidates."""
    kinds = {"i8": pyarrow.int64(), "f8": pyarrow.float64(), "S": pyarrow.string(), "u1": pyarrow.uint8()}
    found = []
    for name in names:
        what = TABLES["candidates"].get(name)
        if what is None:
            found.append(pyarrow.field(name, pyarrow.int64() if name.startswith("n_") else pyarrow.string()))
            continue
        kind = pyarrow.bool_() if what.flag else kinds[what.dtype]
        for _ in range(len(what.tail) + bool(what.per)):
            kind = pyarrow.list_(kind)
        found.append(pyarrow.field(name, kind, what.null, {"unit": what.unit, "description": what.what}))
    return pyarrow.schema(found)
