"""First candidates by pymatgen's StructureMatcher, at the tolerances of other publications, beside the distance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.crystals.batch import Crystal

from .score import ScoredTask

# Attribute of `ScoredTask`: ltol, stol, angle_tol.
MATCHERS = {
    "match_strict": (0.2, 0.2, 5.0),
    "match_default": (0.2, 0.3, 5.0),
    "match_loose": (0.3, 0.5, 10.0),
}


def with_matchers(
    scored: Sequence[ScoredTask],
    records: Iterable[TaskRecord],
    references: Mapping[str, Crystal],
    progress: Callable[[int], None] | None = None,
) -> list[ScoredTask]:
    """Scores with the verdict of each of `MATCHERS` on the first candidate; without a candidate all are false.

    Args:
        scored: of these records.
        records: of an archive.
        references: whole crystals by name of the host; by default the host with its guests where they were.
        progress: called with the number of tasks so far.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matchers = {
        name: StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle) for name, (ltol, stol, angle) in MATCHERS.items()
    }
    by_id, done = {one.task_id: one for one in scored}, 0
    for record in records:
        if record.task_id not in by_id:
            continue
        verdicts: dict[str, Any] = dict.fromkeys(MATCHERS, False)
        if len(record.candidates):
            best = record.candidates[0].relaxed
            candidate = record.crystal(0, relaxed=best is not None and best.guest_frac_coords is not None)
            target = reference_of(record, references).to_structure()
            structure = candidate.to_structure()
            verdicts = {name: bool(matcher.fit(target, structure)) for name, matcher in matchers.items()}
        by_id[record.task_id] = replace(by_id[record.task_id], **verdicts)
        done += 1
        if progress is not None:
            progress(done)
    return list(by_id.values())


def reference_of(record: TaskRecord, references: Mapping[str, Crystal]) -> Crystal:
    """The whole crystal that a task is compared with; see `with_matchers`."""
    known = references.get(record.host.name)
    if known is not None:
        return known
    assert record.reference_frac_coords is not None
    return record.host.with_guests(record.guests, record.reference_frac_coords)
