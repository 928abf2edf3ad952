"""Reads hosts from files of any common format, in the file's own order, lattice and frame."""

from __future__ import annotations

import csv
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from inpaint_hpc.crystals.ase_structures import ASE_SUFFIXES, ase_crystal, require_no_other_symmetry
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import check_crystal, partial_occupancy
from inpaint_hpc.crystals.json_structures import is_ase_database, json_crystal, json_rows, name_of
from inpaint_hpc.crystals.packed import PackedDataset, select_rows
from inpaint_hpc.crystals.text_files import MAX_BYTES, open_text, read_text, unpacked
from inpaint_hpc.environment import user_path
from inpaint_hpc.errors import InputError

PACKED_SUFFIXES = (".h5", ".hdf5")
JSON_SUFFIXES = (".json", ".jsonl")
CIF_SUFFIXES = (".cif", ".mcif")
_FOLDER_SUFFIXES = (*CIF_SUFFIXES, ".vasp", ".poscar", *JSON_SUFFIXES, *PACKED_SUFFIXES, *ASE_SUFFIXES)
_ZIP_SUFFIXES = (*CIF_SUFFIXES, ".extxyz", ".xyz")

# A crystal that has not been read yet: its name, and the function that reads it.
Entry = tuple[str, Callable[[], Crystal]]
Row = TypeVar("Row")


def read_hosts(paths: str | Path | Sequence[str | Path]) -> list[Crystal]:
    """Read host crystals from files, folders and patterns.

    Args:
        paths: one or several of: a file (CIF, POSCAR/CONTCAR/.vasp, pymatgen JSON, packed HDF5, anything ASE reads); a
            folder, for the structure files directly in it; a pattern such as 'hosts/**/*.cif'; any file followed by
            '::' and a selection: 'file.h5::mp-1234', 'file.h5::0:100', 'frames.extxyz::5' (see `read_packed`).

    Returns:
        Crystals in the order given (folders and patterns sorted by name), each with its atoms in the file's order and
        the file's lattice.  Names are file stems or packed ids; a repeated name gets '-2', '-3' ...

    Raises:
        InputError: one line that names the file: nothing matches, empty, not readable, partial occupancy, an element
            that is unknown or beyond Pu, values that are not finite, no cell volume, no atoms, atoms too close.
    """
    return list(iter_hosts(paths))


def iter_hosts(
    paths: str | Path | Sequence[str | Path],
    on_error: Callable[[InputError], None] | None = None,
    names: dict[str, int] | None = None,
) -> Iterator[Crystal]:
    """As `read_hosts`, one crystal at a time.

    Args:
        paths: as `read_hosts`.
        on_error: called with the error of each crystal or file that cannot be used, which is then left out; None
            raises at the first.
        names: how often each name has occurred; pass one dictionary to several calls to keep names unique across them.
    """
    seen = {} if names is None else names
    for path, selection in expand_paths(paths):
        for crystal in read_file(path, selection, on_error):
            seen[crystal.name] = count = seen.get(crystal.name, 0) + 1
            if count > 1:
                while (unique := f"{crystal.name}-{count}") in seen:
                    count += 1
                seen[crystal.name], seen[unique] = count, 1
                crystal = replace(crystal, name=unique)
            yield crystal


def expand_paths(paths: str | Path | Sequence[str | Path]) -> list[tuple[Path, str | None]]:
    """Files named by paths, folders and patterns, each with its selection (the part after '::') or None.

    Raises:
        InputError: nothing given, no such file, no file matches, or a folder without structure files.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise InputError("no hosts given; name a file, a folder or a quoted pattern such as 'hosts/*.cif'")
    files: list[tuple[Path, str | None]] = []
    for item in paths:
        text, selection = str(item), None
        if "::" in text and not Path(text).exists():
            text, _, selection = text.partition("::")
        path = user_path(text)
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if child.is_file() and _is_structure_file(child))
            if not found:
                raise InputError(f"{text}: the folder holds no structure files (POSCAR, {', '.join(_FOLDER_SUFFIXES)})")
        elif path.exists():
            found = [path]
        elif has_magic(text):
            found = sorted(Path(match) for match in glob(str(path), recursive=True) if Path(match).is_file())
            if not found:
                raise InputError(f"{text}: no file matches this pattern")
        else:
            raise InputError(f"{text}: no such file or folder")
        files += [(file, selection) for file in found]
    return files


def read_file(
    path: str | Path, selection: str | None = None, on_error: Callable[[InputError], None] | None = None
) -> Iterator[Crystal]:
    """Crystals of one file; arguments and errors as `iter_hosts`."""
    path = Path(path)
    entries = iter(_entries(path, selection))
    while True:
        try:
            entry = _guarded(lambda: next(entries, None), str(path))
            if entry is None:
                break
            name, read = entry
            label = str(path) if name == _stem(path) else f"{path} ({name})"
            crystal = _guarded(read, label)
            check_crystal(crystal, label, contacts=path.suffix.lower() not in PACKED_SUFFIXES)
        except InputError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield crystal


def _entries(path: Path, selection: str | None) -> Iterator[Entry]:
    if path.suffix.lower() in PACKED_SUFFIXES:
        dataset = PackedDataset(path)
        rows = range(len(dataset)) if selection is None else select_rows(dataset.ids, selection, path)
        yield from ((dataset.ids[row], lambda row=int(row): dataset[row]) for row in rows)
        return
    if path.stat().st_size == 0:
        raise InputError("the file is empty")
    reader = _reader(path)
    if selection is None:
        yield from _not_empty(reader(path))
        return
    # Only what is selected is kept, of a file of any length.
    rows = select_rows([name for name, _ in _not_empty(reader(path))], selection, path)
    wanted = set(rows.tolist())
    found = {row: entry for row, entry in enumerate(reader(path)) if row in wanted}
    yield from (found[row] for row in rows.tolist())


def _not_empty(entries: Iterable[Entry]) -> Iterator[Entry]:
    empty = True
    for entry in entries:
        empty = False
        yield entry
    if empty:
        raise InputError("holds no structure")


def _numbered(path: Path, rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with names: the file's own for a single one, else with a number."""
    held: list[Row] = []
    for index, row in enumerate(rows):
        if index:
            yield f"{_stem(path)}-{index - 1}", held.pop()
        held.append(row)
        last = index
    if held:
        yield f"{_stem(path)}-{last}" if last else _stem(path), held.pop()


def _reader(path: Path) -> Callable[[Path], Iterable[Entry]]:
    suffix = unpacked(path).suffix.lower()
    if suffix in CIF_SUFFIXES:
        return _cif_entries
    if suffix == ".zip":
        return _zip_entries
    if suffix == ".csv":
        return _csv_entries
    if suffix in (".vasp", ".poscar") or _is_poscar(path):
        return _poscar_entries
    if suffix in JSON_SUFFIXES:
        return _json_entries
    return _ase_entries


def _guarded(read: Callable[[], Any], label: str) -> Any:
    """Result of `read`; any exception of a parser becomes a one-line error that names the file."""
    try:
        with warnings.catch_warnings():
            # Parsers warn about what they repair; problems that matter here are found by later checks.
            warnings.simplefilter("ignore")
            return read()
    except InputError as error:
        raise InputError(f"{label}: {error}" if not str(error).startswith(label) else str(error)) from error
    except PermissionError as error:
        raise InputError(f"{label}: permission denied") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{label}: not a text file") from error
    except np.linalg.LinAlgError as error:
        raise InputError(f"{label}: the cell has no volume") from error
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        reason = reason if len(reason) <= 200 else reason[:197] + "..."
        raise InputError(f"{label}: not readable as a crystal structure ({type(error).__name__}: {reason})") from error


def _stem(path: Path) -> str:
    """Name of a file's crystal: the stem, or for a bare POSCAR the name of its folder."""
    name = path.parent.name or path.name if _is_poscar(path) else unpacked(path).stem
    # Whatever the locale, and also for names in another encoding, which could not be written to results.
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_poscar(path: Path) -> bool:
    inner = unpacked(path)
    return inner.name.upper().startswith(("POSCAR", "CONTCAR")) and inner.suffix.lower() not in _FOLDER_SUFFIXES


def _is_structure_file(path: Path) -> bool:
    known = unpacked(path).suffix.lower() in _FOLDER_SUFFIXES
    return not path.name.startswith(".") and (known or _is_poscar(path))


def _cif_entries(path: Path) -> Iterable[Entry]:
    from inpaint_hpc.crystals.cif import cif_entries

    return cif_entries(_stem(path), read_text(path, "replace"))


def _zip_entries(path: Path) -> Iterator[Entry]:
    """Crystals of the CIF and extended XYZ files in a zip archive, such as generators and databases write."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if Path(m.filename).suffix.lower() in _ZIP_SUFFIXES]
            if not members:
                raise InputError("the zip archive holds no CIF or extended XYZ files")
            for member in sorted(members, key=lambda member: member.filename):
                inner = Path(member.filename)
                if member.file_size > MAX_BYTES:
                    raise InputError(f"'{inner}' is larger than {MAX_BYTES >> 20} MiB; split it")
                text = archive.read(member).decode("utf-8-sig", errors="replace")
                if inner.suffix.lower() in CIF_SUFFIXES:
                    yield from _lazily(inner.stem, text)
                else:
                    yield from _frames(inner, io.StringIO(text), "extxyz")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"the zip archive is damaged or of an unknown kind ({error})") from error


def _csv_entries(path: Path) -> Iterator[Entry]:
    """Crystals of a table with a column `cif` that holds whole files, such as data sets of generators."""
    csv.field_size_limit(MAX_BYTES)
    with open_text(path) as file:
        for default, row in _numbered(path, csv.DictReader(file)):
            if "cif" not in row:
                raise InputError("a table of crystals has a column 'cif' with the text of a CIF file in each row")
            yield from _lazily(name_of(row, default), row["cif"] or "")


def _lazily(name: str, text: str) -> Sequence[Entry]:
    """The crystals of the text of a CIF file; an error of the file is raised when it is read."""
    from inpaint_hpc.crystals.cif import cif_entries

    try:
        return cif_entries(name, text)
    except InputError as error:

        def refuse(error: InputError = error) -> Crystal:
            raise error

        return [(name, refuse)]


def _poscar_entries(path: Path) -> Iterable[Entry]:
    from pymatgen.io.vasp import Poscar

    poscar = Poscar.from_str(read_text(path, "replace"))  # comments may be in any encoding
    if not poscar.true_names:
        raise InputError("no element symbols (VASP 4 format); add a line with them above the numbers of atoms")
    name = _stem(path)
    return [(name, lambda: _from_structure(poscar.structure, name, {}))]


def _json_entries(path: Path) -> Iterator[Entry]:
    def opened() -> AbstractContextManager[TextIO]:
        return open_text(path)

    if unpacked(path).suffix.lower() == ".json" and is_ase_database(opened):
        yield from _ase_entries(path)
        return
    for default, item in _numbered(path, json_rows(opened)):
        name = name_of(item, default)
        yield name, partial(json_crystal, item, name)


def _ase_entries(path: Path) -> Iterator[Entry]:
    from ase.io.formats import UnknownFileTypeError

    require_no_other_symmetry(path)
    try:
        yield from _frames(path, path)
    except UnknownFileTypeError as error:
        raise InputError(
            "the format is not known; use CIF, POSCAR, pymatgen JSON, packed HDF5 or one that ASE reads"
        ) from error


def _frames(path: Path, source: Path | TextIO, ase_format: str | None = None) -> Iterator[Entry]:
    import ase.io

    for default, frame in _numbered(path, ase.io.iread(source, format=ase_format)):
        name = name_of(frame.info, default)
        yield name, partial(ase_crystal, frame, name)


def _from_structure(structure, name: str, info: dict[str, Any]) -> Crystal:
    """A crystal from a pymatgen structure, refusing what a crystal cannot represent."""
    from pymatgen.core import DummySpecies

    for index, site in enumerate(structure):
        for species in site.species:
            if isinstance(species, DummySpecies):
                raise InputError(f"site {index}: '{species.symbol}' is not an element")
        if not site.is_ordered:
            raise InputError(partial_occupancy(f"site {index}", site.species_string))
    return Crystal.from_structure(structure, name, info)
