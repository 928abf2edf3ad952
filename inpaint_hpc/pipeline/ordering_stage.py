"""Placements of several guests beside the joint samples: guests one after another, and orderings on the site network;
and refinement of the best of all by the score model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.deduplication import deduplicate
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

from .ranking_stage import Refine
from .rejection_sampling import ValidSamples, draw_valid
from .results import Candidate
from .run_context import RunContext
from .settings import PipelineSettings, searches
from .wyckoff_cache import WyckoffCache

if TYPE_CHECKING:
    from inpaint_hpc.orderings.search_occupancy import OccupancySearchResult

SEQUENTIAL = "sequential"


def searched_rows(tasks: Sequence[Task], sampling: SamplingSettings, pipeline: PipelineSettings) -> list[int]:
    """Tasks whose guests are placed in every available way: several guests in a host, strategy `auto`."""
    if not (pipeline.score and pipeline.evaluations):
        return []
    return [row for row, task in enumerate(tasks) if len(task.host) and searches(sampling, len(task.guests))]


def draw_sequential(run: RunContext, tasks: Sequence[Task], rows: Sequence[int]) -> dict[int, ValidSamples]:
    """`pipeline.sequential` samples of the tasks in `rows`, one guest after another, by row."""
    if not run.pipeline.sequential or not rows:
        return {}
    one_by_one, progress = replace(run.sampling, strategy=SEQUENTIAL, samples=run.pipeline.sequential), run.progress
    report = None if progress is None else (lambda _, done, total: progress(SEQUENTIAL, done, total))
    drawn = draw_valid(run.network, [tasks[row] for row in rows], one_by_one, 0, run.device, report)
    return dict(zip(rows, drawn, strict=True))


def search(
    run: RunContext,
    tasks: Sequence[Task],
    rows: Sequence[int],
    draws: Sequence[ValidSamples],
    chains: Mapping[int, ValidSamples],
) -> dict[int, OccupancySearchResult]:
    """Orderings on the site networks of the tasks in `rows`, built from samples of both kinds, by row."""
    if not rows:
        return {}
    from inpaint_hpc.orderings.search_occupancy import SearchSettings, search_occupancy

    pipeline = run.pipeline
    samples = [[d.frac_coords for d in (draws[row], chains.get(row)) if d is not None] for row in rows]
    found = search_occupancy(
        run.network,
        [tasks[row] for row in rows],
        [np.concatenate(parts) for parts in samples],
        run.sampling,
        SearchSettings(
            pipeline.evaluations, 2 * pipeline.candidates, pipeline.tolerance, pipeline.symprec, pipeline.chgnet
        ),
        run.device,
        run.progress,
        apply=run.analysis,
    )
    return dict(zip(rows, found, strict=True))


def refiner(run: RunContext) -> Refine | None:
    """The function that refines placements by the score model; None if `pipeline.settle` is 0."""
    if not run.pipeline.settle:
        return None

    def refine(tasks: Sequence[Task], frac_coords: Sequence[np.ndarray]) -> list[np.ndarray]:
        from inpaint_hpc.orderings.denoise_placements import refine_many

        return refine_many(run.network, tasks, frac_coords, run.sampling, run.pipeline.settle, device=run.device)

    return refine


def sequential_candidates(
    task: Task, drawn: ValidSamples, wyckoff_cache: WyckoffCache | None, pipeline: PipelineSettings, first: int
) -> list[Candidate]:
    """Candidates of sequential samples; sample indices refer to joint samples, so these have none."""
    clusters = deduplicate(task.host, task.guests, drawn.frac_coords, pipeline.tolerance, pipeline.symprec)
    coords = [drawn.frac_coords[cluster.representative] for cluster in clusters]
    return without_samples(task, coords, [SEQUENTIAL] * len(coords), wyckoff_cache, first)


def searched_candidates(
    task: Task, found: OccupancySearchResult, wyckoff_cache: WyckoffCache | None, first: int
) -> list[Candidate]:
    """Candidates of the search; their energies are computed again, with forces, along with those of the samples."""
    return without_samples(task, found.frac_coords, found.origins, wyckoff_cache, first)


def without_samples(
    task: Task,
    frac_coords: Sequence[np.ndarray] | np.ndarray,
    origins: Sequence[str],
    wyckoff_cache: WyckoffCache | None,
    first: int,
) -> list[Candidate]:
    """Candidates that no sample shows, ranked from `first` on."""
    assert wyckoff_cache is not None  # all-atom generation searches nothing
    if not len(frac_coords):
        return []
    distances = invalid_samples(task.host, task.guests, np.array(frac_coords)).min_distance
    candidates = []
    described = wyckoff_cache.describe(np.array(frac_coords))
    for k, (coords, origin) in enumerate(zip(frac_coords, origins, strict=True)):
        sites = described[k * len(coords) : (k + 1) * len(coords)]
        candidates.append(
            Candidate(
                rank=first + k,
                guest_frac_coords=coords,
                sample=-1,
                members=(),
                agreement=0.0,
                spread=None,
                min_distance=float(distances[k]),
                multiplicity=tuple(multiplicity for multiplicity, _ in sites),
                wyckoff=tuple(label for _, label in sites),
                origin=origin,
            )
        )
    return candidates
