"""Ranges of single values, as the fields of row types state them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .fields import Column, stored_columns
from .row_table import Table


def range_problems(kind: type, columns: Table) -> dict[str, np.ndarray]:
    """What is wrong -> rows; only what a single value can tell."""
    found: dict[str, np.ndarray] = {}
    for name, what in stored_columns(kind).items():
        if name not in columns:
            continue
        values = columns[name]
        if what.choices:
            allowed = [text.encode() for text in (*what.choices, *([""] if what.optional else []))]
            found[f"{name} that is unknown"] = np.flatnonzero(~np.isin(values, allowed))
        if what.dtype == "S":
            continue
        if what.flag:
            found[f"{name} that is neither 0 nor 1"] = _entries(columns, what, values > 1)
        if (said := _allowed(what)) is not None:
            text, wrong = said
            found[f"{name} {text}"] = _entries(columns, what, wrong(values))
    return found


def _allowed(what: Column) -> tuple[str, Callable[[np.ndarray], np.ndarray]] | None:
    low = -np.inf if what.minimum is None else what.minimum
    if what.below is not None:
        high = what.below
        return f"outside [{low:g}, {high:g})", lambda v: ~((v >= low) & (v < high) | (what.null & np.isnan(v)))
    if what.maximum is not None:
        high = what.maximum
        return f"outside [{low:g}, {high:g}]", lambda v: ~((v >= low) & (v <= high) | (what.null & np.isnan(v)))
    if what.dtype[0] != "f":
        return None if what.minimum is None else (f"below {low:g}", lambda v: v < low)
    if what.tail:
        return ("that is infinite or lacks a number", _lacks) if what.null else ("that is no number", _not_finite)
    text = "that is infinite" if what.minimum is None else "that is negative or infinite"
    text = text if what.null else text.replace("infinite", "no number")
    return text, lambda v: np.isinf(v) | (v < low) | (np.isnan(v) & (not what.null))


def _not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def _lacks(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    missing = np.isnan(flat)
    return np.isinf(flat).any(axis=1) | (missing.any(axis=1) & ~missing.all(axis=1))


def _entries(columns: Table, what: Column, wrong: np.ndarray) -> np.ndarray:
    """Rows of the table that wrong rows of a column belong to."""
    rows = np.flatnonzero(wrong.any(axis=tuple(range(1, wrong.ndim))))
    if not what.per or not len(rows):
        return rows
    return np.unique(np.searchsorted(columns[what.per], rows, side="right") - 1)
