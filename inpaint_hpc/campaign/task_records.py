"""From results of the pipeline to the records that result files hold, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.archive.records import FAILED, Candidates, Samples, TaskRecord
from inpaint_hpc.archive.site_records import Sites
from inpaint_hpc.pipeline.results import Candidate, InpaintResult, Relaxed

from .task_tables import CampaignTask


def done_record(task: CampaignTask, result: InpaintResult, worker: str) -> TaskRecord:
    """The record of a task that was run."""
    guests = len(task.guests)
    return TaskRecord(
        task_id=task.id,
        host=task.host,
        guests=task.guests,
        n_requested=task.samples,
        samples=_samples(result) if result.n_drawn else Samples.none(guests),
        candidates=_candidates(result.candidates) if result.candidates else Candidates.none(guests),
        seconds=result.seconds,
        worker=worker,
        notes=tuple(result.notes),
        sites=Sites.from_networks(result.networks),
        reference_frac_coords=task.reference,
    )


def failed_record(task: CampaignTask, error: str, traceback: str, attempts: int, worker: str) -> TaskRecord:
    """The record of a task that could not be run; `error` becomes one line."""
    return TaskRecord(
        task_id=task.id,
        host=task.host,
        guests=task.guests,
        n_requested=task.samples,
        status=FAILED,
        worker=worker,
        error=" ".join(error.split()) or "unknown error",
        traceback=traceback,
        attempts=attempts,
        reference_frac_coords=task.reference,
    )


def _samples(result: InpaintResult) -> Samples:
    """Every sample drawn, by index."""
    rounds = result.drawn.rounds
    index = np.concatenate([found.indices for found, _ in rounds])
    order = np.argsort(index)
    reasons = [reason for _, checked in rounds for reason in checked.reason]
    rank = {sample: candidate.rank for candidate in result.candidates for sample in candidate.members}
    return Samples(
        index=index[order],
        guest_frac_coords=np.concatenate([found.frac_coords for found, _ in rounds])[order],
        valid=~np.concatenate([checked.invalid for _, checked in rounds])[order],
        reason=[reasons[row] for row in order],
        min_distance=np.concatenate([checked.min_distance for _, checked in rounds])[order],
        candidate=[rank.get(int(sample), -1) for sample in index[order]],
    )


def _candidates(found: tuple[Candidate, ...]) -> Candidates:
    def column(name: str) -> list[Any]:
        return [np.nan if getattr(candidate, name) is None else getattr(candidate, name) for candidate in found]

    columns = _relaxed_columns(found) if any(candidate.relaxed is not None for candidate in found) else {}
    return Candidates(
        rank=column("rank"),
        sample=column("sample"),
        count=column("count"),
        agreement=column("agreement"),
        spread=column("spread"),
        min_distance=column("min_distance"),
        guest_frac_coords=np.stack([candidate.guest_frac_coords for candidate in found]),
        energy_per_atom=column("energy_per_atom"),
        max_force=column("max_force"),
        max_guest_force=column("max_guest_force"),
        multiplicity=[candidate.multiplicity for candidate in found],
        wyckoff=[candidate.wyckoff for candidate in found],
        error=column("error"),
        origin=tuple(candidate.origin for candidate in found),
        **columns,
    )


def _relaxed_columns(found: tuple[Candidate, ...]) -> dict[str, Any]:
    """The columns of relaxation, NaN where a candidate has no value, and left out where none has."""

    def column(name: str) -> np.ndarray | None:
        values = [None if candidate.relaxed is None else getattr(candidate.relaxed, name) for candidate in found]
        shape = next((np.shape(value) for value in values if value is not None), None)
        if shape is None:
            return None
        return np.stack([np.full(shape, np.nan) if value is None else value for value in values])

    steps = [0 if candidate.relaxed is None else candidate.relaxed.steps for candidate in found]
    return {
        "relaxation": ["" if candidate.relaxed is None else candidate.relaxed.outcome for candidate in found],
        "relaxed_steps": np.array(steps, dtype=np.int64),
        "placements": np.array([candidate.placements for candidate in found], dtype=np.int64),
        "relaxed_energy_per_atom": column("energy_per_atom"),
        "relaxed_max_force": column("max_force"),
        "relaxed_max_guest_force": column("max_guest_force"),
        "relaxed_guest_frac_coords": column("guest_frac_coords"),
        "relaxed_host_frac_coords": column("host_frac_coords"),
        "relaxed_lattice": column("lattice"),
    }


def with_error(record: TaskRecord, error: str) -> TaskRecord:
    """A record turned into that of a failed task, because it holds what a result may not hold."""
    guests = len(record.guests)
    return replace(
        record,
        status=FAILED,
        samples=Samples.none(guests),
        candidates=Candidates.none(guests),
        sites=Sites.none(),
        error=" ".join(error.split()),
        attempts=1,
    )


def results_of(
    records: Iterable[TaskRecord], settings: Mapping[str, Any] | None = None, weights: Mapping[str, str] | None = None
) -> list[InpaintResult]:
    """Records of finished tasks as the pipeline returned them, for tables and pictures; failed tasks become a note.

    Results in one host share its `Crystal`.
    """
    hosts: dict[str, Any] = {}
    results = []
    for record in records:
        samples = record.samples
        notes = (*record.notes, *([f"failed: {record.error}"] if record.failed else []))
        results.append(
            InpaintResult(
                host=hosts.setdefault(record.host_id, record.host),
                guests=record.guests,
                candidates=tuple(_candidate(record, rank) for rank in range(len(record.candidates))),
                n_drawn=len(samples),
                n_invalid=int((~samples.valid).sum()),
                reasons=dict(Counter(reason for reason in samples.reason if reason).most_common()),
                notes=notes,
                settings=settings or {},
                weights=weights or {},
                seconds=record.seconds,
            )
        )
    return results


def _candidate(record: TaskRecord, rank: int) -> Candidate:
    found, samples = record.candidates, record.samples

    def number(name: str) -> float | None:
        value = float(getattr(found, name)[rank])
        return None if np.isnan(value) else value

    return Candidate(
        rank=int(found.rank[rank]),
        guest_frac_coords=found.guest_frac_coords[rank],
        sample=int(found.sample[rank]),
        members=tuple(int(i) for i in samples.index[samples.candidate == found.rank[rank]]),
        agreement=float(found.agreement[rank]),
        spread=number("spread"),
        min_distance=float(found.min_distance[rank]),
        multiplicity=tuple(int(m) for m in found.multiplicity[rank]),
        wyckoff=tuple(found.wyckoff[rank]),
        energy_per_atom=number("energy_per_atom"),
        max_force=number("max_force"),
        max_guest_force=number("max_guest_force"),
        error=found.error[rank],
        relaxed=_relaxed(found, rank),
        placements=1 if found.placements is None else max(1, int(found.placements[rank])),
        origin=(found.origin[rank] if found.origin is not None else "") or "joint",
    )


def _relaxed(found: Candidates, rank: int) -> Relaxed | None:
    outcome = found.relaxation[rank] if found.relaxation is not None else ""
    if not outcome:
        return None

    def value(name: str) -> Any:
        column = getattr(found, "relaxed_" + name)
        if column is None or np.isnan(column[rank]).any():
            return None
        return column[rank] if column.ndim > 1 else float(column[rank])

    names = ("energy_per_atom", "max_force", "max_guest_force", "guest_frac_coords", "host_frac_coords", "lattice")
    steps = 0 if found.relaxed_steps is None else int(found.relaxed_steps[rank])
    return Relaxed(outcome, steps, **{name: value(name) for name in names})
