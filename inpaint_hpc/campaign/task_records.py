"""From results of the pipeline to the records that result files hold, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from inpaint_hpc.archive.records import FAILED, TaskRecord
from inpaint_hpc.archive.rows import Sample
from inpaint_hpc.archive.site_records import sites_of_networks
from inpaint_hpc.pipeline.results import InpaintResult

from .task_tables import CampaignTask


def done_record(task: CampaignTask, result: InpaintResult, worker: str) -> TaskRecord:
    """The record of a task that was run."""
    return TaskRecord(
        task_id=task.id,
        host=task.host,
        guests=task.guests,
        n_requested=task.samples,
        samples=_samples(result) if result.n_drawn else (),
        candidates=result.candidates,
        seconds=result.seconds,
        worker=worker,
        notes=tuple(result.notes),
        sites=sites_of_networks(result.networks),
        reference_frac_coords=task.reference,
        confidence=result.confidence,
        n_evaluations=result.evaluations,
        host_energies=result.host_energies,
        provenance=result.provenance,
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


def _samples(result: InpaintResult) -> list[Sample]:
    """Every sample drawn, by index."""
    rank = {sample: candidate.rank for candidate in result.candidates for sample in candidate.members}
    samples = [
        Sample(index, not invalid, reason, distance, rank.get(index, -1), frac_coords)
        for found, checked in result.drawn.rounds
        for index, invalid, reason, distance, frac_coords in zip(
            found.indices.tolist(),
            checked.invalid.tolist(),
            checked.reason,
            checked.min_distance.tolist(),
            found.frac_coords,
            strict=True,
        )
    ]
    return sorted(samples, key=attrgetter("index"))


def with_error(record: TaskRecord, error: str) -> TaskRecord:
    """A record turned into that of a failed task, because it holds what a result may not hold."""
    return replace(
        record,
        status=FAILED,
        samples=(),
        candidates=(),
        sites=(),
        confidence=None,
        n_evaluations=None,
        host_energies=None,
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
                candidates=tuple(record.candidates),
                n_drawn=len(samples),
                n_invalid=len(samples) - record.n_valid,
                reasons=dict(Counter(reason for reason in samples.values("reason") if reason).most_common()),
                notes=notes,
                settings=settings or {},
                weights=weights or {},
                seconds=record.seconds,
                evaluations=record.n_evaluations or 0,
                confidence=record.confidence,
                host_energies=record.host_energies,
                provenance=record.provenance,
            )
        )
    return results
