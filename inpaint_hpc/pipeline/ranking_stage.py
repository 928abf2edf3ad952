"""Scoring, relaxation and ranking of candidates by CHGNet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.gpus import is_gpu
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import Apply, Task
from inpaint_hpc.scoring.chgnet.energies import PotentialResult, evaluate_candidates
from inpaint_hpc.scoring.relaxation.relax import Relaxation, RelaxSettings, relax

from .candidate_order import by_energy, handed_out
from .host_energies import host_energies
from .rejection_sampling import Progress
from .results import CONVERGED, DIVERGED, UNFINISHED, Candidate, HostEnergies, Relaxed
from .settings import STAGED, PipelineSettings
from .shortlist import VOID, Scored, lowest_voids, shortlisted
from .unique_minima import merge_minima
from .wyckoff_cache import WyckoffCache

SETTLED = "settled"
AGREED_SHARE = 0.25  # of the candidates that are relaxed
VOID_STEPS = 10  # of a guest from a void's centre
SOFT_WELL = 2.0  # eV/A^2, curvature of the softest minimum that a guest is expected to relax into
Key = TypeVar("Key")
Refine = Callable[[Sequence[Task], Sequence[np.ndarray]], list[np.ndarray]]
"""Tasks and placements of each, (M, n, 3) -> placements in their order."""


@dataclass
class TaskCandidates:
    """The candidates of one task on their way through scoring and relaxation.

    Attributes:
        task: the task.
        wyckoff_cache: sites of its host; None for all-atom generation.
        candidates: what is known of them so far; ranked in the end.
        searched: candidates of the search over the site network are among them; equal ones are merged, and the best few
            kept.
        evaluations: energies computed of candidates as placed.
        host_energies: of its host, alone.
        seconds: wall time of 'score', 'settle' and 'relax'.
    """

    task: Task
    wyckoff_cache: WyckoffCache | None
    candidates: list[Candidate]
    searched: bool = False
    evaluations: int = 0
    host_energies: HostEnergies | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def rank_by_energy(
    placements: Sequence[TaskCandidates],
    pipeline: PipelineSettings,
    device: Any,
    progress: Progress | None = None,
    together: bool | None = None,
    refine: Refine | None = None,
    analysis: Apply = map,
) -> None:
    """Score, refine, relax and rank the candidates of tasks, in place.

    A CPU takes one task at a time: larger batches gain nothing there, and the result of a task then does not depend on
    other tasks, not even in the last bit.  A GPU takes all of them together.

    Args:
        placements: the candidates of each task.
        pipeline: settings, with `score`.
        device: torch device.
        progress: called with ('score' or 'relax', done, total), counted in candidates.
        together: all tasks at once, or one at a time; None decides by the device.
        refine: moves guests that the search put on sites to their joint positions; kept if the energy falls enough, see
            `_refine`.
        analysis: how steps without networks are done for many tasks.
    """
    count = _Counter(progress, placements, pipeline.top_k)
    together = is_gpu(device) if together is None else together
    for group in [list(placements)] if together else [[one] for one in placements]:
        with _timed(group, "score"):
            _score(group, pipeline, device, count)
        if pipeline.relaxes and pipeline.top_k is None:
            with _timed(group, "relax"):
                _let_voids_go(group, pipeline, device)
        searched = [one for one in group if one.searched]
        if searched:
            chosen = analysis(shortlisted, [Scored(one.task, one.candidates, pipeline) for one in searched])
            for one, candidates in zip(searched, chosen, strict=True):
                one.candidates = candidates
        for one in group:
            one.candidates = lowest_voids(one.task, one.candidates)
        if refine is not None and any(one.searched for one in group):
            with _timed(group, "settle"):
                _refine(group, refine, pipeline, device)
        if pipeline.relaxes:
            with _timed(group, "relax"):
                _relax(group, pipeline, device, count)
        for one in group:
            one.candidates = _ranked(one, pipeline)


def _score(group: list[TaskCandidates], pipeline: PipelineSettings, device: Any, count: _Counter) -> None:
    """Energies and forces of all candidates as placed."""
    for one, found in zip(group, host_energies([one.task.host for one in group], pipeline, device), strict=True):
        one.host_energies = found
    owners = [(one, k) for one in group for k in range(len(one.candidates))]
    crystals = [_as_placed(one, k) for one, k in owners]
    guests = [len(one.task.guests) for one, _ in owners]
    scores = evaluate_candidates(crystals, guests, device, progress=count.of("score"), weights=pipeline.chgnet)
    for (one, k), score in zip(owners, scores, strict=True):
        one.candidates[k] = replace(one.candidates[k], **_scored(score, one))
        one.evaluations += 1


def _scored(score: PotentialResult, one: TaskCandidates) -> dict[str, Any]:
    if score.failed:
        return {"error": score.error}
    found = {name: getattr(score, name) for name in ("energy_per_atom", "max_force", "max_guest_force")}
    host = None if one.host_energies is None else one.host_energies.energy
    return found | {"energy_per_guest": _per_guest(one.task, score.energy_per_atom, host)}


def _per_guest(task: Task, energy_per_atom: float, host_energy: float | None) -> float | None:
    """(E(host + guests) - E(host)) / guests in eV; None where the host's energy is not known."""
    if host_energy is None:
        return None
    return (energy_per_atom * (len(task.host) + len(task.guests)) - host_energy) / len(task.guests)


def _refine(group: list[TaskCandidates], refine: Refine, pipeline: PipelineSettings, device: Any) -> None:
    """Refine guests on sites by the score model, and keep the result where it lowers the energy.

    Sites are means over single guests, but the guests of a placement repel each other; samples were denoised together
    and need no refinement.  The energy must fall by at least what the guest that moved farthest gains in a soft well:
    with less, the noise has carried it to another place that happens to be as low, and the placement is no longer the
    one found.
    """
    chosen = [
        (one, [k for k, c in enumerate(one.candidates) if not c.members and c.energy_per_atom is not None])
        for one in group
        if one.searched
    ]
    chosen = [(one, rows) for one, rows in chosen if rows]
    if not chosen:
        return
    coords = [np.stack([one.candidates[k].guest_frac_coords for k in rows]) for one, rows in chosen]
    moved = refine([one.task for one, _ in chosen], coords)
    owners, crystals, places = [], [], []
    for (one, rows), on_sites, frac in zip(chosen, coords, moved, strict=True):
        checked = invalid_samples(one.task.host, one.task.guests, frac)
        paths = np.linalg.norm(PeriodicCell(one.task.host.lattice).vectors(frac - on_sites), axis=-1).max(axis=-1)
        gains = 0.5 * SOFT_WELL * paths**2 / (len(one.task.host) + len(one.task.guests))
        for k, position, bad, distance, gain in zip(
            rows, frac, checked.invalid, checked.min_distance, gains, strict=True
        ):
            if not bad:
                owners.append((one, k))
                places.append((position, float(distance), float(gain)))
                crystals.append(one.task.host.with_guests(one.task.guests, position))
    scores = evaluate_candidates(crystals, [len(one.task.guests) for one, _ in owners], device, weights=pipeline.chgnet)
    for (one, k), (position, distance, gain), score in zip(owners, places, scores, strict=True):
        one.evaluations += 1
        before = one.candidates[k]
        assert before.energy_per_atom is not None and one.wyckoff_cache is not None  # as chosen; with a host
        if score.failed or score.energy_per_atom >= before.energy_per_atom - gain:
            continue
        origin = "+".join(sorted({*before.origin.split("+"), SETTLED}))
        one.candidates[k] = _moved(one, before, position, distance, origin=origin, **_scored(score, one))


def _moved(one: TaskCandidates, before: Candidate, position: np.ndarray, distance: float, **changes: Any) -> Candidate:
    """A candidate whose guests are placed elsewhere (n, 3), `distance` A from the nearest atom."""
    assert one.wyckoff_cache is not None
    sites = one.wyckoff_cache.describe(position)
    return replace(
        before,
        guest_frac_coords=position,
        min_distance=distance,
        multiplicity=tuple(multiplicity for multiplicity, _ in sites),
        wyckoff=tuple(label for _, label in sites),
        **changes,
    )


def _let_voids_go(group: list[TaskCandidates], pipeline: PipelineSettings, device: Any) -> None:
    """Move guests in voids for a few steps, where candidates are relaxed: a void's centre is no place to judge it by.

    In gamma-MnO2 Mg ends in the lowest place of all from a centre that is 3 eV above it.
    """
    chosen = [(one, k) for one in group for k, c in enumerate(one.candidates) if c.origin == VOID]
    found = relax(
        [_as_placed(one, k) for one, k in chosen],
        1,
        RelaxSettings("guests", pipeline.fmax, VOID_STEPS, displacement=0.0),
        model=pipeline.chgnet,
        device=device,
    )
    for (one, k), moved in zip(chosen, found, strict=True):
        n = len(one.task.host)
        position = moved.crystal.frac_coords[n:] - np.floor(moved.crystal.frac_coords[n:])
        position = np.where(position == 1.0, 0.0, position)
        checked = invalid_samples(one.task.host, one.task.guests, position[None])
        if not moved.diverged and not checked.invalid[0]:
            host = None if one.host_energies is None else one.host_energies.energy
            one.candidates[k] = _moved(
                one,
                one.candidates[k],
                position,
                float(checked.min_distance[0]),
                energy_per_atom=moved.energy_per_atom,
                energy_per_guest=_per_guest(one.task, moved.energy_per_atom, host),
                max_force=moved.max_force,
                max_guest_force=float(np.linalg.norm(moved.forces[n:], axis=1).max()),
            )


def _relax(group: list[TaskCandidates], pipeline: PipelineSettings, device: Any, count: _Counter) -> None:
    """Relax the best candidates and merge those that end in the same minimum."""
    report = count.of("relax")
    chosen = []
    top_k = pipeline.top_k
    stages = pipeline.stage_steps if top_k is not None else 0
    for one in group:
        best = most_promising(one.candidates, STAGED * top_k if top_k is not None and stages else top_k)
        chosen += [(one, k) for k in best]
        report(
            len(one.candidates[: pipeline.top_k]) - len(best[: pipeline.top_k])
        )  # candidates without an energy count as done
    crystals = [_as_placed(one, k) for one, k in chosen]
    if stages:
        chosen, crystals = _lowest_after_a_few_steps(chosen, crystals, pipeline, device)
    relaxations = relax(
        crystals,
        [len(one.task.guests) for one, _ in chosen],
        RelaxSettings(pipeline.relax, pipeline.fmax, pipeline.relax_steps),
        model=pipeline.chgnet,
        device=device,
        progress=report,
    )
    for (one, k), relaxation in zip(chosen, relaxations, strict=True):
        one.candidates[k] = _relaxed(one, one.candidates[k], relaxation, pipeline)
    for one in group:
        one.candidates = merge_minima(one.task, one.candidates, pipeline)


def _lowest_after_a_few_steps(
    chosen: list[tuple[TaskCandidates, int]], crystals: list[Crystal], pipeline: PipelineSettings, device: Any
) -> tuple[list[tuple[TaskCandidates, int]], list[Crystal]]:
    """The `top_k` candidates of each task that are lowest after a short relaxation of their guests, as relaxed.

    As before it, a quarter of the places go by agreement: guests alone do not show how the host responds.
    """
    assert pipeline.top_k is not None
    found = relax(
        crystals,
        [len(one.task.guests) for one, _ in chosen],
        RelaxSettings("guests", pipeline.fmax, pipeline.stage_steps, displacement=0.0),
        model=pipeline.chgnet,
        device=device,
    )

    def agreement(row: int) -> float:
        one, k = chosen[row]
        return one.candidates[k].agreement if one.candidates[k].members and not found[row].diverged else 0.0

    rows_of: dict[int, list[int]] = {}
    for row, (one, _) in enumerate(chosen):
        rows_of.setdefault(id(one), []).append(row)
    kept: list[int] = []
    for rows in rows_of.values():
        lowest = sorted(rows, key=lambda row: (found[row].diverged, round(found[row].energy_per_atom, 6), row))
        kept += sorted(lowest_and_agreed(lowest, agreement, pipeline.top_k))
    return [chosen[row] for row in kept], [crystals[r] if found[r].diverged else found[r].crystal for r in kept]


def most_promising(candidates: Sequence[Candidate], count: int | None) -> list[int]:
    """The candidates most worth relaxing, at most `count`, lowest energy as placed first.

    A quarter of the places, at least one of several, go to those that most samples agree on, the others to the lowest:
    orderings may be low only as placed, and samples show what relaxes lower.  None takes all that have an energy.
    """
    order = [k for k in by_energy(candidates) if candidates[k].energy_per_atom is not None]
    if count is None or len(order) <= count:
        return order
    return lowest_and_agreed(order, lambda k: candidates[k].agreement if candidates[k].members else 0.0, count)


def lowest_and_agreed(order: Sequence[Key], agreement: Callable[[Key], float], count: int) -> list[Key]:
    """`count` of candidates in the order of their energies: a quarter, at least one of several, by agreement.

    Args:
        order: candidates, lowest first.
        agreement: share of the samples that show a candidate, 0 for none.
        count: places.
    """
    share = 0 if count == 1 else max(1, round(AGREED_SHARE * count))
    agreed = sorted((k for k in order if agreement(k) > 0.0), key=lambda k: -agreement(k))[:share]
    chosen = [*agreed, *(k for k in order if k not in agreed)][:count]
    return [k for k in order if k in chosen]


def _relaxed(one: TaskCandidates, candidate: Candidate, found: Relaxation, pipeline: PipelineSettings) -> Candidate:
    """A candidate with the result of its relaxation."""
    host, guests = one.task.host, one.task.guests
    crystal, n = found.crystal, len(host)
    moved = replace(crystal, numbers=crystal.numbers[:n], frac_coords=crystal.frac_coords[:n])
    reason = found.reason if found.diverged else invalid_samples(moved, guests, crystal.frac_coords[None, n:]).reason[0]
    if reason:
        # CHGNet may find a guest on top of a host atom favourable; that is not a real minimum.
        return replace(candidate, relaxed=Relaxed(outcome=DIVERGED, steps=found.steps), error=f"not relaxed: {reason}")
    free = pipeline.relax != "guests" and n > 0
    positions = crystal.frac_coords[n:] - np.floor(crystal.frac_coords[n:])
    relaxed = Relaxed(
        outcome=CONVERGED if found.converged else UNFINISHED,
        steps=found.steps,
        energy_per_atom=found.energy_per_atom,
        energy_per_guest=_per_guest(
            one.task, found.energy_per_atom, None if one.host_energies is None else one.host_energies.relaxed_energy
        ),
        max_force=found.max_force,
        max_guest_force=float(np.linalg.norm(found.forces[n:], axis=1).max()),
        guest_frac_coords=np.where(positions == 1.0, 0.0, positions),  # -1e-17 - floor(-1e-17) is 1
        host_frac_coords=crystal.frac_coords[:n] if free else None,
        lattice=crystal.lattice if pipeline.relax == "cell" else None,
    )
    changes: dict[str, Any] = {
        "placed_agreement": candidate.agreement,
        "placed_multiplicity": candidate.multiplicity,
        "placed_wyckoff": candidate.wyckoff,
    }
    if one.wyckoff_cache is None:
        changes["spacegroup"] = spacegroup_symbol(relaxed.crystal(host, guests), pipeline.symprec)
    elif not free:
        sites = one.wyckoff_cache.describe(positions)
        changes |= {"multiplicity": tuple(m for m, _ in sites), "wyckoff": tuple(label for _, label in sites)}
    return replace(candidate, relaxed=relaxed, **changes)


def _as_placed(one: TaskCandidates, k: int) -> Crystal:
    return one.task.host.with_guests(one.task.guests, one.candidates[k].guest_frac_coords)


def _ranked(one: TaskCandidates, pipeline: PipelineSettings) -> list[Candidate]:
    order = handed_out(one.task, one.candidates, pipeline)
    return [replace(one.candidates[k], rank=rank) for rank, k in enumerate(order)]


@contextmanager
def _timed(group: list[TaskCandidates], stage: str) -> Iterator[None]:
    """Wall time of a stage, divided among tasks by numbers of atoms."""
    sizes = [(len(one.task.host) + len(one.task.guests)) * len(one.candidates) for one in group]
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    for one, size in zip(group, sizes, strict=True):
        one.seconds[stage] = one.seconds.get(stage, 0.0) + seconds * size / max(sum(sizes), 1)


class _Counter:
    """Progress over all tasks, however they are grouped."""

    def __init__(self, progress: Progress | None, placements: Sequence[TaskCandidates], top_k: int | None) -> None:
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
