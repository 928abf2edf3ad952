"""Benchmarks that go host by host: a row for each, kept as soon as it is there, and a table over groups of them.

DIR/benchmark.json   protocol, input, weights and settings
    hosts.jsonl      a line for each finished host
    results/         tasks.csv, summary.json, table.md
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .metrics import share_of
from .protocols import BENCHMARK
from .results import percent, write_json

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        key: of the rows; the column is left out where a row has no value.
        title: its heading.
        digits: of a mean, over the rows that have a value; None for a share, with its interval.
    """

    key: str
    title: str
    digits: int | None = None

    def cell(self, row: Mapping[str, Any]) -> str:
        """The text for a row of `grouped`."""
        if self.digits is None:
            return percent(row, self.key)
        return "" if row[self.key] is None else f"{row[self.key]:.{self.digits}f}"


class FinishedHosts:
    """Rows of a folder; a call that was interrupted is gone on with.

    Args:
        folder: of the benchmark; is made if need be.
        asked: protocol, input, weights, settings: what the rows depend on, as plain values.

    Raises:
        InputError: the folder is of another benchmark.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        self.folder, self.path, self.rows = folder, folder / "hosts.jsonl", dict[str, Row]()
        place = folder / BENCHMARK
        if place.exists():
            known = json.loads(place.read_text(encoding="utf-8"))
            if differ := [name for name in asked if known.get(name) != asked[name]]:
                raise InputError(f"{folder}: is a benchmark with other {', '.join(differ)}; use another --out")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(place, {"inpaint_hpc": __version__, **asked})
        if self.path.exists():
            self._read()

    def add(self, row: Row) -> None:
        """Keep the row of a host, `row['host']`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[row["host"]] = row

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the last line was being written when the process was killed
            with atomic_path(self.path) as temporary:
                temporary.write_text(whole, encoding="utf-8")
        self.rows = {row["host"]: row for row in map(json.loads, whole.splitlines())}


def grouped(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Shares and means, one row for each `group` and, last, all of them.

    Args:
        rows: with `host`, `group`, `framework` (drawn again for intervals) and the keys of the columns.
        columns: those without a value in any row are left out.
    """
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: _order(row["group"])):
        groups.setdefault(row["group"], []).append(row)
    found = [_summed(group, part, columns) for group, part in groups.items()]
    return found if len(found) == 1 else [*found, _summed("all", rows, columns)]


def _order(group: str) -> tuple[int, str]:
    """Ranges of numbers by their first, then names."""
    first = re.match(r"\d+", group)
    return (int(first.group()) if first else 10**9, group)


def _summed(group: str, rows: Sequence[Row], columns: Sequence[Column]) -> Row:
    frameworks = [row["framework"] for row in rows]
    summed: Row = {"group": group, "hosts": len(rows), "frameworks": len(set(frameworks))}
    for column in columns:
        values = [row.get(column.key) for row in rows]
        if column.digits is not None:
            known = [float(value) for value in values if value is not None]
            summed[column.key] = sum(known) / len(known) if known else None
        elif None not in values:
            share = share_of([float(value) for value in values if value is not None], frameworks, wilson=True)
            summed |= {column.key: share.mean, f"{column.key}_low": share.low, f"{column.key}_high": share.high}
    return summed


def cells(groups: Sequence[Row], columns: Sequence[Column], first: str) -> tuple[list[str], list[list[str]]]:
    """Headings and texts of the table; `first` heads the groups."""
    shown = [column for column in columns if all(column.key in row for row in groups)]
    return (
        [first, "hosts", *(column.title for column in shown)],
        [[row["group"], str(row["hosts"]), *(column.cell(row) for column in shown)] for row in groups],
    )


def markdown_of(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = "|---|" + "---:|" * (len(headings) - 1)
    return (
        "\n".join(["| " + " | ".join(headings) + " |", rule, *("| " + " | ".join(one) + " |" for one in lines)]) + "\n"
    )


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV file with the columns of all rows."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
