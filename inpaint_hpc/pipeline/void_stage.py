"""A second opinion on one guest: voids of the host that no sample shows, and that CHGNet finds as low."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

from .results import Candidate
from .settings import PipelineSettings
from .shortlist import VOID


def looks_for_voids(task: Task, sampling: SamplingSettings, pipeline: PipelineSettings) -> bool:
    """Whether the voids of a task's host are tried: one guest, strategy `auto`, energies at hand."""
    alone = len(task.guests) == 1 and len(task.host) > 0
    return alone and sampling.strategy == "auto" and bool(pipeline.score and pipeline.voids)


def void_places(task: Task, known: np.ndarray, pipeline: PipelineSettings) -> np.ndarray:
    """Voids of the host that are not yet among the places of its candidates (n, 3), as placements (V, 1, 3)."""
    from inpaint_hpc.sites.voids import void_centres

    return void_centres(task.host, task.guests[0], pipeline.voids, pipeline.symprec, pipeline.tolerance, known)[:, None]


def void_note(task: Task, candidates: Sequence[Candidate]) -> list[str]:
    """A line where a void that no sample shows is lower than the first candidate, all unrelaxed."""
    lower = [
        (c.energy_per_atom, c.rank)
        for c in candidates
        if (not c.rank or c.origin == VOID) and c.energy_per_atom is not None and c.relaxed is None
    ]
    if len(lower) < 2 or lower[0][1] > 0:
        return []
    energy, rank = min(lower)
    gain = 1000.0 * (len(task.host) + 1) * (lower[0][0] - energy)
    if gain <= 0:
        return []
    return [
        f"candidate {rank} is a void of the host that no sample shows, {gain:.0f} meV below the first in the "
        "frozen host: relax with the cell to decide"
    ]
