"""What a report holds: an index with a row for each task, and panels of tasks in chunks that are read when opened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.analysis.voltage import TREATMENTS
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Provenance
from inpaint_hpc.benchmark.score import score_record
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.provenance import provenance_of_file

from .filling import Fillings
from .panels import SortKey, sort_key, symbol, task_panel, task_row

CHUNK = 40
"""Panels that are read together."""


@dataclass(frozen=True)
class Contents:
    """What the page is made from.

    Attributes:
        facts: of the whole archive.
        rows: of the table, in its first order.
        chunks: JSON arrays of panels; row k has panel k % CHUNK of chunk k // CHUNK.
    """

    facts: dict[str, Any]
    rows: list[dict[str, Any]]
    chunks: list[str]


def archive_contents(archive: Archive, top: int | None = None) -> Contents:
    """The contents of an archive.

    Args:
        archive: opened archive or result file.
        top: only the first rows of the table: lowest energy first, without energies most certain first.

    Raises:
        InputError: it has no tasks.
    """
    return contents_of(archive.iter_records, archive.attributes, archive.path.name, top)


def contents_of(
    read: Callable[[Sequence[int] | None], Iterable[TaskRecord]],
    attributes: dict[str, Any],
    source: str,
    top: int | None = None,
) -> Contents:
    """The contents of records; arguments as of `archive_contents`.

    Args:
        read: gives the records with these numbers in increasing order, all for None; it is called twice, so that rows
            and panels are made only of those that are shown.
        attributes: of their file.
        source: what the page calls them.
        top: as of `archive_contents`.
    """
    of_file = provenance_of_file(attributes)
    keys, scores = [], []
    fillings, totals = Fillings(), _Totals()
    for record in read(None):
        origin = _origin(record, of_file)
        score = score_record(record, stol=None)
        if score is not None:
            scores.append(score.top1)
        totals.add(record, origin)
        fillings.add(record, origin)
        keys.append(sort_key(record, origin))
    if not keys:
        raise InputError(f"{source}: it has no tasks to report")
    main = totals.main_treatment()
    # Energies by another treatment cannot stand in one column with the rest; the panel has them.
    others = {k for k, treated in enumerate(totals.origins) if treated != main}
    order = sorted(range(len(keys)), key=lambda k: _first(keys[k], k in others))[:top]
    profiles = fillings.profiles()
    rows, panels = {}, {}
    for k, record in zip(sorted(order), read(None if len(order) == len(keys) else sorted(order)), strict=True):
        origin, score = _origin(record, of_file), score_record(record, stol=None)
        row = {**task_row(record, origin, score), "crystal": totals.hosts[record.host_id]}
        if k in others and row["energy"] is not None:
            row |= {"energy": None, "voltage": None, "flags": [*row["flags"], "treatment"]}
        rows[k] = row
        # As text at once: ten thousand panels as objects would take gigabytes.
        panel = json.dumps(task_panel(record, origin, score), allow_nan=False, separators=(",", ":"))
        panels[k] = _with_profile(panel, profiles.get(fillings.key(k)))
    facts = totals.facts(attributes) | {
        "source": source,
        "shown": len(order),
        "known": len(scores),
        "known_right": sum(scores),
        "potential": main[0],
        "treatment": main[1],
        "treated": TREATMENTS.get(main[1], ""),
    }
    ordered = [panels[k] for k in order]
    chunks = [f"[{','.join(ordered[k : k + CHUNK])}]" for k in range(0, len(ordered), CHUNK)]
    return Contents(facts, [rows[k] for k in order], chunks)


def heading(facts: dict[str, Any]) -> str:
    """The heading of the page, e.g. 'Where Li and Mg sit in 7 hosts'."""
    ions: Sequence[str] = facts["ions"]
    names = f"{len(ions)} ions" if len(ions) > 3 else " and ".join(filter(None, [", ".join(ions[:-1]), ions[-1]]))
    return f"Where {names} {'sits' if len(ions) == 1 else 'sit'} in {facts['hosts']:,} host{'s'[: facts['hosts'] != 1]}"


def _origin(record: TaskRecord, of_file: Provenance | None) -> Provenance:
    """Where energies are from; of merged archives before schema 1.3 only whether they are relaxed can be seen."""
    origin = record.provenance or of_file or Provenance()
    relaxed = not origin.treatment and any(one.relaxed is not None for one in record.candidates)
    return replace(origin, treatment="relaxed") if relaxed else origin


def _first(key: SortKey, other: bool) -> tuple[Any, ...]:
    """The table's first order: lowest energy, most certain, without a place, failed."""
    energy, sure = None if other else key.energy, -1.0 if key.confidence is None else key.confidence
    return (key.failed, key.empty, energy is None, -sure if energy is None else energy, key.host)


def _with_profile(panel: str, profile: dict[str, Any] | None) -> str:
    return panel if profile is None else f'{panel[:-1]},"filling":{json.dumps(profile, allow_nan=False)}}}'


class _Totals:
    """Sums over all tasks, also those that are not shown."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self.ions: Counter[str] = Counter()
        self.workers: set[str] = set()
        self.seconds: Counter[str] = Counter()
        self.origins: list[tuple[str, str]] = []
        self.tasks = self.failed = self.drawn = 0

    def add(self, record: TaskRecord, origin: Provenance) -> None:
        self.hosts.setdefault(record.host_id, len(self.hosts))
        self.ions.update(symbol(z) for z in set(record.guests))
        self.workers.add(record.worker)
        self.seconds.update(record.seconds)
        self.origins.append((origin.potential, origin.treatment))
        self.tasks += 1
        self.failed += record.failed
        self.drawn += len(record.samples)

    def main_treatment(self) -> tuple[str, str]:
        """Potential and treatment of most tasks that have one."""
        known = Counter(origin for origin in self.origins if origin[0])
        return known.most_common(1)[0][0] if known else ("", "")

    def facts(self, attributes: dict[str, Any]) -> dict[str, Any]:
        versions = attributes.get("versions")
        settings = attributes.get("configuration", attributes.get("settings"))
        return {
            "version": __version__,
            "schema": str(attributes.get("schema_version", "")),
            "created": str(attributes.get("created", ""))[:16].replace("T", " "),
            "campaign": str(attributes.get("campaign", "")),
            "weights": str(attributes.get("weights_name", "")),
            "weights_sha256": str(attributes.get("weights_sha256", "")),
            "versions": versions if isinstance(versions, dict) else {},
            "settings": settings if isinstance(settings, dict) else {},
            "hosts": len(self.hosts),
            "ions": [ion for ion, _ in self.ions.most_common()],
            "tasks": self.tasks,
            "failed": self.failed,
            "samples": self.drawn,
            "workers": len(self.workers),
            "seconds": {stage: round(time, 1) for stage, time in self.seconds.items()},
        }
