"""What an archive holds, in numbers: tasks, failures, agreement of the first candidates, time, and the best of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.archive.columns import plain
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.schema import SECONDS
from inpaint_hpc.errors import InputError

from .tables import best, with_texts_of_guests

if TYPE_CHECKING:
    import pandas as pd

# Quantity that the best tasks are chosen by: whether its highest value is the best.
QUANTITIES = {
    "relaxed_energy_per_guest_eV": False,
    "energy_per_guest_eV": False,
    "agreement": True,
    "confidence": True,
}
BINS = 10
_REASONS = 5
_SHOWN = (
    *("task", "id", "host", "formula", "guests", "agreement", "confidence", "energy_per_guest_eV"),
    *("relaxed_energy_per_guest_eV", "energy_per_atom_eV", "wyckoff"),
)


def overview(archive: Archive, by: str | None = None, top: int = 10) -> dict[str, Any]:
    """The numbers of `inpaint-hpc show`, plain values with units in their names.

    Args:
        archive: an open archive.
        by: one of `QUANTITIES`, of the first candidate of a task or the task itself; by default the first of
            them that is known.
        top: how many of the best tasks.

    Raises:
        InputError: an unknown quantity, or one that no task of the archive has.
    """
    if by is not None and by not in QUANTITIES:
        raise InputError(f"unknown quantity '{by}'; choose one of {', '.join(QUANTITIES)}")
    tasks, first = archive.tasks(), best(archive, per_guest=False)
    known = [name for name in QUANTITIES if name in first and np.isfinite(first[name]).any()]
    if by is not None and by not in known:
        raise InputError(f"{archive.path}: no task has {by}" + (f"; known are {', '.join(known)}" if known else ""))
    by = by or next(iter(known), "agreement")  # without candidates none is known
    seconds = _seconds(tasks)
    total = sum(stage["total"] for stage in seconds.values())
    said = archive.attributes
    drawn, possible = int(tasks["n_samples"].sum()), int(tasks["n_valid"].sum())
    counts = np.histogram(first["agreement"], bins=BINS, range=(0.0, 1.0))[0]
    found = {
        "archive": str(archive.path),
        "created": said.get("created"),
        "schema_version": said.get("schema_version"),
        "tasks": {
            "all": len(tasks),
            "expected": said.get("n_expected"),
            **{status: int(count) for status, count in tasks["status"].value_counts().items()},
            "without_candidates": int(((tasks["status"] == "done") & (tasks["n_candidates"] == 0)).sum()),
        },
        "hosts": int(tasks["host_row"].nunique()),
        "ions": _tasks_of_ions(tasks),
        "samples": {"drawn": drawn, "possible": possible},
        "candidates": int(tasks["n_candidates"].sum()),
        "weights": {name: said.get(f"weights_{name}") for name in ("name", "sha256")},
        "potentials": _distinct(tasks, "potential"),
        "treatments": _distinct(tasks, "treatment"),
        "versions": said.get("versions") if isinstance(said.get("versions"), Mapping) else {},
        "workers": int(tasks["worker"][tasks["worker"] != ""].nunique()),
        "seconds": {"all": total, "stages": seconds},
        "samples_per_worker_second": drawn / total if total else None,
        "failures": _reasons(archive.failures()),
        "agreement": {"bins": BINS, "first_candidates": counts.tolist()},
        "by": by,
        "best": _best(archive, tasks, first, by, top),
    }
    return plain(found)


def _tasks_of_ions(tasks: pd.DataFrame) -> dict[str, int]:
    """Tasks that place each element, the most frequent first."""
    found: dict[str, int] = {}
    for label, count in tasks["guests"].value_counts().items():
        for symbol in {part.partition("=")[0] for part in str(label).split()}:
            found[symbol] = found.get(symbol, 0) + int(count)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _distinct(tasks: pd.DataFrame, name: str) -> list[str]:
    return sorted({str(value) for value in tasks[name]} - {""}) if name in tasks else []


def _seconds(tasks: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Of each stage: total and mean over the tasks that had it, the longest first."""
    stages = {name.removeprefix(SECONDS): tasks[name] for name in tasks if name.startswith(SECONDS)}
    found = {
        stage: {"total": float(values.sum()), "mean": float(values.mean()), "tasks": int(values.count())}
        for stage, values in stages.items()
        if values.count()
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["total"]))


def _reasons(failures: pd.DataFrame) -> list[dict[str, Any]]:
    """The most frequent errors, those that differ in numbers only taken together, each with one task."""
    kinds = failures["error"].map(lambda text: re.sub(r"\d+(\.\d+)?", "#", str(text)))
    found = []
    for kind, count in kinds.value_counts().head(_REASONS).items():
        example = failures[kinds == kind].iloc[0]
        found.append({"error": example["error"], "count": int(count), "id": example["id"], "host": example["host"]})
    return found


def _best(archive: Archive, tasks: pd.DataFrame, first: pd.DataFrame, by: str, top: int) -> list[dict[str, Any]]:
    chosen = first[np.isfinite(first[by])].sort_values(by, ascending=not QUANTITIES[by], kind="stable").head(top)
    found = []
    for row in chosen.to_dict("records"):
        row["id"] = tasks["id"].iloc[row["task"]]
        row["wyckoff"] = with_texts_of_guests(archive.candidates(row["task"]))["wyckoff"].iloc[0]
        found.append({name: row[name] for name in _SHOWN if name in row})
    return found
