"""The table /sites in memory: rows of records, and records of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ragged_arrays import offsets, strings, texts
from .schema import TABLES
from .site_records import Sites

# Column of /sites: attribute of `Sites`; `multiplicity` is kept as offsets.
FIELDS = {name: name.removesuffix("_eV").removesuffix("_A") for name in TABLES["sites"] if name != "frac_coords"}


def sites_table(every: Sequence[Sites]) -> dict[str, np.ndarray]:
    """Columns of the sites of several tasks."""
    found: dict[str, np.ndarray] = {}
    for name, field in FIELDS.items():
        what = TABLES["sites"][name]
        values = [getattr(sites, field) for sites in every]
        if what.dtype == "S":
            found[name] = texts([text for part in values for text in part])
        else:
            found[name] = np.concatenate(values).astype(what.dtype)
    found["frac_coords"] = np.concatenate([sites.frac_coords for sites in every])
    found["position_offsets"] = offsets(np.concatenate([sites.multiplicity for sites in every]))
    return found


def sites_of(columns: dict[str, np.ndarray], first: int, last: int) -> Sites:
    """The sites of rows `first` to `last - 1`."""
    bounds = columns["position_offsets"][first : last + 1]
    values: dict[str, Any] = {
        "frac_coords": columns["frac_coords"][bounds[0] : bounds[-1]],
        "multiplicity": np.diff(bounds),
    }
    for name, field in FIELDS.items():
        rows = columns[name][first:last]
        values[field] = strings(rows) if TABLES["sites"][name].dtype == "S" else rows
    return Sites(**values)


def sites_frame(columns: dict[str, np.ndarray] | None, tasks: np.ndarray) -> dict[str, np.ndarray | list]:
    """Columns of a pandas table of rows of /sites, None for no such table, that belong to tasks by number.

    `multiplicity` is added; `frac_coords` becomes the first site of each orbit, an array (3,).
    """
    if columns is None:
        return {name: [] for name in ("task", *FIELDS, "multiplicity", "frac_coords")}
    found: dict[str, np.ndarray | list] = {"task": tasks}
    for name in FIELDS:
        found[name] = strings(columns[name]) if TABLES["sites"][name].dtype == "S" else columns[name]
    found["saturated"] = columns["saturated"].astype(bool)
    found["multiplicity"] = np.diff(columns["position_offsets"])
    found["frac_coords"] = list(columns["frac_coords"][columns["position_offsets"][:-1]])
    return found
