"""Reads, filters and checks the hosts described by a configuration, in chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inpaint_hpc.campaign.config import HostSource, parse_range
from inpaint_hpc.configuration import nearest
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset, select_rows
from inpaint_hpc.crystals.reading import PACKED_SUFFIXES, expand_paths, read_file
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.tasks import guest_numbers

from .host_table import HostTable

CHUNK = 8192
Skip = Callable[[InputError], None] | None
"""Takes the error of a host that is left out; None where errors are not to be survived."""


@dataclass
class Excluded:
    """Hosts and cases that could not become tasks, and why.

    Attributes:
        counts: numbers by reason.
        examples: one line about the first of each reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, count: int, example: str = "") -> None:
        """Count what was left out for a reason, with the first example of it."""
        if count:
            self.counts[reason] += int(count)
            self.examples.setdefault(reason, example)


def read_sources(sources: list[HostSource], excluded: Excluded) -> Iterator[HostTable]:
    """Hosts that pass their source's filters, in the order given, at most `CHUNK` at a time.

    A repeated name gets the suffix '-2', '-3' ...

    Args:
        sources: at least one.
        excluded: records what `skip_bad` leaves out.

    Raises:
        InputError: nothing found, unreadable (without `skip_bad`), or a filter by a column that the file lacks.
    """
    names: Counter[str] = Counter()
    for source in sources:
        taken = 0
        for label, table in _tables(source, excluded):
            rows = np.flatnonzero(_matches(table, source, label))
            if source.limit is not None:
                rows = rows[: source.limit - taken]
            taken += len(rows)
            if len(rows):
                yield _renamed(table if len(rows) == len(table) else table.take(rows), names)
            if taken == source.limit:
                break


def _tables(source: HostSource, excluded: Excluded) -> Iterator[tuple[str, HostTable]]:
    """(file, checked hosts) of all files of a source."""

    def skip(error: InputError) -> None:
        excluded.add("hosts that cannot be used", 1, str(error))

    crystals: list[Crystal] = []
    label = source.location
    for path, selection in expand_paths(source.location):
        if selection is not None and source.select is not None:
            raise InputError(f"{path}: give 'select' or '::{selection}', not both")
        selection = source.select if selection is None else selection
        if path.suffix.lower() in PACKED_SUFFIXES:
            if crystals:
                yield label, HostTable.from_crystals(crystals)
                crystals = []
            for table in _packed(path, selection, source, skip if source.skip_bad else None):
                yield str(path), _checked(table, str(path), skip if source.skip_bad else None)
            continue
        if source.split is not None or source.prefix:
            raise InputError(f"{path}: only packed HDF5 files have a 'split' or 'prefix'")
        for crystal in read_file(path, selection, skip if source.skip_bad else None):
            crystals.append(crystal)
            if len(crystals) == CHUNK:
                yield label, HostTable.from_crystals(crystals)
                crystals = []
    if crystals:
        yield label, HostTable.from_crystals(crystals)


def _packed(path: Path, selection: str | None, source: HostSource, skip: Skip) -> Iterator[HostTable]:
    try:
        data = PackedDataset(path, split=source.split, prefix=source.prefix)
        rows = np.arange(len(data)) if selection is None else select_rows(data.ids, selection, path)
    except InputError as error:
        if skip is None:
            raise
        skip(error)
        return
    table = HostTable(
        data.ids, data.n_atoms.astype(np.int64), data.numbers, data.frac_coords, data.lattice, data.columns
    )
    for start in range(0, len(rows), CHUNK):
        part = table.take(rows[start : start + CHUNK])
        # The float32 arrays of the file are converted chunk by chunk, to limit memory.
        yield HostTable(
            part.names,
            part.n_atoms,
            part.numbers,
            part.frac_coords.astype(np.float64),
            part.lattice.astype(np.float64),
            part.columns,
        )


def _checked(table: HostTable, label: str, skip: Skip) -> HostTable:
    bad = []
    for row in table.suspicious():
        try:
            table.check(int(row), f"{label} ({table.names[row]})")
        except InputError as error:
            if skip is None:
                raise
            skip(error)
            bad.append(row)
    return table.take(np.setdiff1d(np.arange(len(table)), bad)) if bad else table


def _matches(table: HostTable, source: HostSource, label: str) -> np.ndarray:
    """Which hosts pass the filters of their source, bool (H,)."""
    found = np.ones(len(table), dtype=bool)
    if source.atoms is not None:
        found &= (table.n_atoms >= source.atoms[0]) & (table.n_atoms <= source.atoms[1])
    for element in guest_numbers(source.elements.include):
        found &= table.count(element) > 0
    for element in guest_numbers(source.elements.exclude):
        found &= table.count(element) == 0
    if source.anion and len(table):
        found &= np.isin(table.anions(), guest_numbers(source.anion))
    for name, wanted in source.where.items():
        found &= _column_matches(column_of(table, name, label), wanted)
    return found


def column_of(table: HostTable, name: str, label: str = "") -> np.ndarray:
    """A column of the hosts' file, (H,).

    Raises:
        InputError: there is no column of that name.
    """
    if name not in table.columns:
        label = label or table.names[0]
        hint = f"; did you mean '{nearest(name, table.columns)}'?" if table.columns else "; its file has no columns"
        raise InputError(f"{label}: no column '{name}'{hint}")
    return table.columns[name]


def _column_matches(column: np.ndarray, wanted: object) -> np.ndarray:
    if isinstance(wanted, str) and ".." in wanted:
        low, high = parse_range(wanted)
        values = [value if isinstance(value, int | float) else np.nan for value in column.tolist()]
        numbers = np.array(values, dtype=np.float64)
        return (numbers >= low) & (numbers <= high)
    options = set(wanted if isinstance(wanted, list) else [wanted])
    return np.array([value in options for value in column.tolist()], dtype=bool)


def _renamed(table: HostTable, seen: Counter[str]) -> HostTable:
    names = []
    for name in table.names:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return HostTable(names, table.n_atoms, table.numbers, table.frac_coords, table.lattice, table.columns)
