"""From results of the pipeline to the records that result files hold, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from inpaint_hpc.archive.records import FAILED, TaskRecord, host_id, task_id_tail
from inpaint_hpc.archive.rows import Candidate, Sample
from inpaint_hpc.archive.site_records import networks_of_sites, sites_of_networks
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.pipeline.analysis import ScoredTask, result_of
from inpaint_hpc.pipeline.rejection_sampling import ValidSamples
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.sampling.contact_distances import Validity
from inpaint_hpc.sampling.placement_distances import STOL, compare_placements
from inpaint_hpc.sampling.tasks import SampleSet, Task

from .task_tables import CampaignTask


@dataclass(frozen=True, eq=False)
class FinishedTask:
    """A task that was run, and what its record says besides.

    Attributes:
        task: the task.
        scored: what was found.
        worker: name of who ran it.
        stol: as `compare_placements`.
    """

    task: CampaignTask
    scored: ScoredTask
    worker: str
    stol: float

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.scored.name


def record_of(item: FinishedTask) -> TaskRecord:
    """The record of a task, by itself: a step of the analysis (`pipeline/analysis.py`)."""
    return done_record(item.task, result_of(item.scored), item.worker, item.stol)


def done_record(task: CampaignTask, result: InpaintResult, worker: str, stol: float = STOL) -> TaskRecord:
    """The record of a task that was run; `stol` as `compare_placements`."""
    record = result_record(result, task.samples, task.id, task.host, worker, task.reference)
    return record if task.reference is None or not len(task.host) else _with_distances(record, stol)


def _with_distances(record: TaskRecord, stol: float) -> TaskRecord:
    """How far samples and candidates are from where the guests had been taken out."""
    reference = record.reference_frac_coords
    assert reference is not None
    samples, candidates = list(record.samples), list(record.candidates)
    coords = [one.guest_frac_coords for one in samples] + [one.guests_at_rest for one in candidates]
    found = compare_placements(record.host, record.guests, reference, np.array(coords), stol=stol)
    distances = [
        {"reference_rmsd": None, "reference_distance": None}
        if not np.isfinite(rmsd)
        else {"reference_rmsd": rmsd, "reference_distance": largest}
        for rmsd, largest in zip(found.rmsd.tolist(), found.largest.tolist(), strict=True)
    ]
    return replace(
        record,
        samples=[replace(one, **more) for one, more in zip(samples, distances[: len(samples)], strict=True)],
        candidates=[replace(one, **more) for one, more in zip(candidates, distances[len(samples) :], strict=True)],
        reference_tolerance=found.limit,
    )


def result_record(
    result: InpaintResult,
    n_requested: int,
    task_id: str | None = None,
    host: Crystal | None = None,
    worker: str = "",
    reference_frac_coords: np.ndarray | None = None,
) -> TaskRecord:
    """The record of a result of the pipeline.

    Args:
        result: the result.
        n_requested: valid samples asked for.
        task_id: None makes the one that a task of a campaign with this content has.
        host: with name and columns of the campaign; by default that of the result.
        worker, reference_frac_coords: as in `TaskRecord`.
    """
    if task_id is None:
        settings = bytes.fromhex(result.provenance.settings_sha256) if result.provenance else b""
        content = bytes.fromhex(host_id(result.host)) + task_id_tail(result.guests, n_requested, settings)
        task_id = hashlib.sha256(content).hexdigest()
    return TaskRecord(
        task_id=task_id,
        host=host or result.host,
        guests=result.guests,
        n_requested=n_requested,
        samples=_samples(result.drawn, result.candidates) if result.drawn is not None and result.n_drawn else (),
        candidates=result.candidates,
        seconds=result.seconds,
        worker=worker,
        notes=tuple(result.notes),
        reference_frac_coords=reference_frac_coords,
        sites=sites_of_networks(result.networks),
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


def _samples(drawn: ValidSamples, candidates: Sequence[Candidate]) -> list[Sample]:
    """Every sample drawn, by index."""
    rank = {sample: candidate.rank for candidate in candidates for sample in candidate.members}
    samples = [
        Sample(index, not invalid, reason, distance, rank.get(index, -1), frac_coords)
        for found, checked in drawn.parts
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
        reference_tolerance=None,
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
        host = hosts.setdefault(record.host_id, record.host)
        drawn = _drawn(record, host)
        results.append(
            InpaintResult(
                host=host,
                guests=record.guests,
                candidates=tuple(record.candidates),
                n_drawn=drawn.n_drawn,
                n_invalid=drawn.n_drawn - len(drawn.indices),
                reasons=dict(drawn.reasons.most_common()),
                notes=(*record.notes, *([f"failed: {record.error}"] if record.failed else [])),
                settings=settings or {},
                weights=weights or {},
                seconds=record.seconds,
                drawn=drawn,
                networks=tuple(networks_of_sites(record.sites, host)),
                evaluations=record.n_evaluations or 0,
                confidence=record.confidence,
                host_energies=record.host_energies,
                provenance=record.provenance,
            )
        )
    return results


def _drawn(record: TaskRecord, host: Crystal) -> ValidSamples:
    """The samples of a record, as one round of drawing."""
    drawn = ValidSamples(np.zeros((0, len(record.guests), 3)), seconds=dict(record.seconds))
    samples = record.samples
    if len(samples):
        found = SampleSet(Task(host, record.guests), samples["guest_frac_coords"], samples["index"], 0)
        drawn.keep(found, Validity(~samples["valid"], samples["min_distance"], list(samples["reason"])))
    return drawn
