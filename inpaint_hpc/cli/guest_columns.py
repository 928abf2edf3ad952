"""Columns about guests that several tables share: energy and force, neighbours in words, bond valence sums."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from inpaint_hpc.pipeline.results import Candidate

WIDE = 110  # columns of a terminal from which tables have everything
NARROW = 25  # of the neighbours in 80
_WORDS = re.compile(r"(.+), ([\d.]+)(?:-([\d.]+))? A")


def energy_per_guest(candidate: Candidate) -> float | None:
    """Against the empty host in eV: relaxed where it was relaxed."""
    moved = candidate.relaxed
    return candidate.energy_per_guest if moved is None or not moved.sound else moved.energy_per_guest


def guest_force(candidate: Candidate) -> float | None:
    """Largest force on a guest in eV/A, where it rests."""
    moved = candidate.relaxed
    return candidate.max_guest_force if moved is None or not moved.sound else moved.max_guest_force


def add_columns(table: Table, names: Sequence[str], left: Sequence[str] = ()) -> None:
    """Columns of numbers, on the right, and of texts, on the left; only neighbours are wrapped."""
    for name in names:
        wraps = name == "neighbours"
        table.add_column(name, justify="left" if wraps or name in left else "right", no_wrap=not wraps)


def neighbours(environments: Sequence[str], width: int = 1000) -> str:
    """One line for guests with the same neighbours and shape, with shortest and longest distance of all.

    In less than `width` characters: the distances are a line of their own where they do not fit.

    Example:
        ('LiO4 tetrahedron, 1.94 A', 'LiO4 tetrahedron, 1.96-1.97 A') -> 'LiO4 tetrahedron, 1.94-1.97 A x2'
    """
    groups: dict[str, list[float]] = {}
    counts: Counter[str] = Counter()
    for text in environments:
        if (found := _WORDS.fullmatch(text)) is None:
            continue
        words, shortest, longest = found.groups()
        counts[words] += 1
        groups.setdefault(words, []).extend([float(shortest), float(longest or shortest)])
    lines = []
    for words, ends in groups.items():
        lengths = f"{_span(ends, 2)} A" + (f" x{counts[words]}" if counts[words] > 1 else "")
        lines.append(f"{words}, {lengths}" if len(words) + len(lengths) + 2 <= width else f"{words},\n{lengths}")
    return "\n".join(lines) or "-"


def valences(sums: Sequence[float | None]) -> str:
    """'1.03' of one guest; '0.9-1.1' of several."""
    known = [value for value in sums if value is not None and value == value]
    return _span(known, 2 if len(sums) == 1 else 1) if known else "-"


def number(value: float | None, digits: int) -> str:
    """'-' where it is not known."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _span(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low}-{high}"
