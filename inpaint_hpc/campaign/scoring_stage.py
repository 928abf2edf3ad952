"""Scoring, relaxation and ranking of candidates by CHGNet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.sampling.validity import invalid_samples
from inpaint_hpc.scoring.chgnet_score import score_crystals
from inpaint_hpc.scoring.relaxation import Relaxation, relax

from .drawing import Progress
from .minima import merge_minima
from .pipeline_settings import PipelineSettings
from .results import CONVERGED, DIVERGED, UNFINISHED, Candidate, Relaxed
from .shortlist import shortlist
from .sites import SiteBook


@dataclass
class Placements:
    """The candidates of one task on their way through scoring and relaxation.

    Attributes:
        task: the task.
        book: sites of its host; None for all-atom generation.
        candidates: what is known of them so far; ranked in the end.
        searched: candidates of the search over the site network are among them; equal ones become one, and the best
            few stay.
        seconds: wall time of 'score' and 'relax'.
    """

    task: Task
    book: SiteBook | None
    candidates: list[Candidate]
    searched: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


def score_placements(
    placements: Sequence[Placements],
    pipeline: PipelineSettings,
    device: Any,
    progress: Progress | None = None,
    together: bool | None = None,
) -> None:
    """Score, relax and rank the candidates of tasks, in place.

    A CPU takes one task at a time: larger batches gain nothing there, and so what a task gives does not depend on those
    beside it, not even in the last bit.  A GPU takes all of them together.

    Args:
        placements: the candidates of each task.
        pipeline: settings, with `score`.
        device: torch device.
        progress: called with ('score' or 'relax', done, total), counted in candidates.
        together: all tasks at once, or one at a time; None decides by the device.
    """
    count = _Counter(progress, placements, pipeline.top_k)
    together = "cuda" in str(device) if together is None else together
    for group in [list(placements)] if together else [[one] for one in placements]:
        _timed(group, "score", lambda group=group: _score(group, pipeline, device, count))
        for one in group:
            if one.searched:
                one.candidates = shortlist(one.task, one.candidates, pipeline)
        if pipeline.relaxes:
            _timed(group, "relax", lambda group=group: _relax(group, pipeline, device, count))
        for one in group:
            one.candidates = _ranked(one.candidates)


def _score(group: list[Placements], pipeline: PipelineSettings, device: Any, count: _Counter) -> None:
    """Energies and forces of all candidates as placed."""
    owners = [(one, k) for one in group for k in range(len(one.candidates))]
    crystals = [_as_placed(one, k) for one, k in owners]
    guests = [len(one.task.guests) for one, _ in owners]
    scores = score_crystals(crystals, guests, device, progress=count.of("score"), weights=pipeline.chgnet)
    for (one, k), score in zip(owners, scores, strict=True):
        found = {"error": score.error}
        if not score.failed:
            found = {name: getattr(score, name) for name in ("energy_per_atom", "max_force", "max_guest_force")}
        one.candidates[k] = replace(one.candidates[k], **found)


def _relax(group: list[Placements], pipeline: PipelineSettings, device: Any, count: _Counter) -> None:
    """Relax the best candidates and merge those that end in the same minimum."""
    report = count.of("relax")
    chosen = []
    for one in group:
        best = [k for k in _order(one.candidates) if one.candidates[k].energy_per_atom is not None][: pipeline.top_k]
        chosen += [(one, k) for k in best]
        report(len(one.candidates[: pipeline.top_k]) - len(best))  # what has no energy is done with
    relaxations = relax(
        [_as_placed(one, k) for one, k in chosen],
        [len(one.task.guests) for one, _ in chosen],
        pipeline.relax,
        pipeline.fmax,
        pipeline.relax_steps,
        model=pipeline.chgnet,
        device=device,
        progress=report,
    )
    for (one, k), relaxation in zip(chosen, relaxations, strict=True):
        one.candidates[k] = _relaxed(one, one.candidates[k], relaxation, pipeline)
    for one in group:
        one.candidates = merge_minima(one.task, one.candidates, pipeline)


def _relaxed(one: Placements, candidate: Candidate, found: Relaxation, pipeline: PipelineSettings) -> Candidate:
    """A candidate with what its relaxation gave."""
    host, guests = one.task.host, one.task.guests
    crystal, n = found.crystal, len(host)
    moved = replace(crystal, numbers=crystal.numbers[:n], frac_coords=crystal.frac_coords[:n])
    reason = found.reason if found.diverged else invalid_samples(moved, guests, crystal.frac_coords[None, n:]).reason[0]
    if reason:
        # CHGNet may call a guest on top of a host atom favourable: such a minimum is none.
        return replace(candidate, relaxed=Relaxed(DIVERGED, found.steps), error=f"not relaxed: {reason}")
    free = pipeline.relax != "guests" and n > 0
    positions = crystal.frac_coords[n:] - np.floor(crystal.frac_coords[n:])
    relaxed = Relaxed(
        outcome=CONVERGED if found.converged else UNFINISHED,
        steps=found.steps,
        energy_per_atom=found.energy_per_atom,
        max_force=found.max_force,
        max_guest_force=float(np.linalg.norm(found.forces[n:], axis=1).max()),
        guest_frac_coords=np.where(positions == 1.0, 0.0, positions),  # -1e-17 - floor(-1e-17) is 1
        host_frac_coords=crystal.frac_coords[:n] if free else None,
        lattice=crystal.lattice if pipeline.relax == "cell" else None,
    )
    changes: dict[str, Any] = {}
    if one.book is None:
        changes["spacegroup"] = spacegroup_symbol(relaxed.crystal(host, guests), pipeline.symprec)
    elif not free:
        sites = [one.book.describe(position) for position in relaxed.guest_frac_coords]
        changes = {"multiplicity": tuple(m for m, _ in sites), "wyckoff": tuple(label for _, label in sites)}
    return replace(candidate, relaxed=relaxed, **changes)


def _as_placed(one: Placements, k: int) -> Crystal:
    return one.task.host.with_guests(one.task.guests, one.candidates[k].guest_frac_coords)


def _ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [replace(candidates[k], rank=rank) for rank, k in enumerate(_order(candidates))]


def _order(candidates: Sequence[Candidate]) -> list[int]:
    """Relaxed ones first, then those that were not, diverged ones, and those without an energy; each by energy."""

    def key(k: int) -> tuple:
        c = candidates[k]
        if c.energy_per_atom is None:
            group = 3
        elif c.relaxed is None:
            group = 1
        else:
            group = 0 if c.relaxed.sound else 2
        return group, c.ranking_energy or 0.0, -c.agreement, c.sample

    return sorted(range(len(candidates)), key=key)


def _timed(group: list[Placements], stage: str, work: Callable[[], None]) -> None:
    """Wall time of a stage, shared out by atoms."""
    sizes = [(len(one.task.host) + len(one.task.guests)) * len(one.candidates) for one in group]
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    for one, size in zip(group, sizes, strict=True):
        one.seconds[stage] = seconds * size / max(sum(sizes), 1)


class _Counter:
    """Progress over all tasks, whichever of them go together."""

    def __init__(self, progress: Progress | None, placements: Sequence[Placements], top_k: int | None) -> None:
        self._progress = progress
        self._total = {
            "score": sum(len(one.candidates) for one in placements),
            "relax": sum(len(one.candidates[:top_k]) for one in placements),
        }
        self._done = dict.fromkeys(self._total, 0)

    def of(self, stage: str) -> Callable[[int], None]:
        def add(count: int) -> None:
            self._done[stage] += count
            if count and self._progress is not None:
                self._progress(stage, self._done[stage], self._total[stage])

        return add
