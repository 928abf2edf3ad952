"""Selects the candidates to return from all that were scored: equal ones once, distinct ones first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling.deduplication import equal_samples
from inpaint_hpc.sampling.tasks import Task

from .results import Candidate
from .settings import PipelineSettings
from .unique_minima import joined_origin

VOID = "void"  # origin of a candidate that no sample shows, in a void of the host
CLOSE = 0.05  # eV; it is kept up to so far above the lowest candidate that samples show
# Shares of the places for the lowest in energy, for the most symmetric, and for what most samples agree on.
LOWEST, SYMMETRIC, AGREED = 0.125, 0.25, 0.375
# Of the last, places for placements that a single sample shows: with many guests every sample is unique.
SHOWN = 0.125
# Nearly equal: within this distance under the host's symmetry at this tolerance, both in A.  A host relaxed
# without its guests is less symmetric than it will be with them, and its sites are where it leaves room.
NEAR, NEAR_SYMPREC = 0.7, 0.3


def lowest_voids(task: Task, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without the voids that cost more than `CLOSE` above what samples show, or have no energy."""
    n_atoms = len(task.host) + 1
    shown = [c.energy_per_atom for c in candidates if c.origin != VOID and c.energy_per_atom is not None]
    highest = min(shown, default=np.inf) * n_atoms + CLOSE

    def stays(one: Candidate) -> bool:
        return one.origin != VOID or (one.energy_per_atom is not None and one.energy_per_atom * n_atoms <= highest)

    return [one for one in candidates if stays(one)]


@dataclass(frozen=True, eq=False)
class Scored:
    """What the shortlist of a task is chosen from, as `shortlist` takes it."""

    task: Task
    candidates: Sequence[Candidate]
    pipeline: PipelineSettings

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name


def shortlisted(scored: Scored) -> list[Candidate]:
    """`shortlist` of one item."""
    return shortlist(scored.task, scored.candidates, scored.pipeline)


def shortlist(task: Task, candidates: Sequence[Candidate], pipeline: PipelineSettings) -> list[Candidate]:
    """At most `pipeline.candidates` different candidates, lowest energy first.

    Of equal ones, within `pipeline.tolerance` under the host's symmetry, the lowest in energy is kept, with the samples
    of all.  If there are too many, places go first to the few lowest in energy; then to the most symmetric crystals and
    to those that most samples agree on (few to those of a single sample), because a potential can order energies
    wrongly, above all in a host that did not relax around its guests; then to the lowest that are not nearly equal to
    one already chosen; finally to the rest, lowest first.

    Args:
        task: the task, with host atoms.
        candidates: scored, as placed.
        pipeline: settings.
    """
    order = sorted(range(len(candidates)), key=lambda k: _key(candidates[k]))
    ranked = [candidates[k] for k in order]
    if not ranked:
        return []
    coords = np.stack([c.guest_frac_coords for c in ranked])
    equal = equal_samples(task.host, task.guests, coords, pipeline.tolerance, pipeline.symprec)
    owner: dict[int, list[int]] = {}
    for k in range(len(ranked)):
        first = next((kept for kept in owner if equal[k, kept]), k)
        owner.setdefault(first, []).append(k)
    merged = [_merged([ranked[k] for k in group]) for group in owner.values()]
    if len(merged) <= pipeline.candidates:
        return merged
    return [merged[k] for k in sorted(_different_first(task, merged, pipeline))]


def _different_first(task: Task, merged: Sequence[Candidate], pipeline: PipelineSettings) -> list[int]:
    """The chosen candidates, when there are more than places, lowest energy first."""
    tolerance, symprec = max(NEAR, pipeline.tolerance), max(NEAR_SYMPREC, pipeline.symprec)
    coords = np.stack([c.guest_frac_coords for c in merged])
    near = equal_samples(task.host, task.guests, coords, tolerance, symprec)

    def places(share: float) -> int:
        return int(share * pipeline.candidates)

    def different(order: Iterable[int], count: int) -> list[int]:
        """Candidates that are not nearly equal to an earlier one."""
        found: list[int] = []
        for k in order:
            if len(found) < count and not near[k, found].any():
                found.append(k)
        return found

    lowest = range(math.ceil(LOWEST * pipeline.candidates))
    crystals = [task.host.with_guests(task.guests, c) for c in coords]
    operations = np.array([len(symmetry_operations(crystal, symprec)[0]) for crystal in crystals])
    symmetric = different(np.argsort(-operations, kind="stable").tolist(), places(SYMMETRIC))
    shown = sorted((k for k, c in enumerate(merged) if c.members), key=lambda k: (-merged[k].agreement, k))
    agreed = different([k for k in shown if len(merged[k].members) > 1], places(AGREED))
    alone = min(places(SHOWN), places(AGREED) - len(agreed))
    agreed += different([k for k in shown if len(merged[k].members) == 1], alone)
    chosen = list(dict.fromkeys([*lowest, *symmetric, *agreed]))[: pipeline.candidates]
    for k in range(len(merged)):
        if len(chosen) < pipeline.candidates and k not in chosen and not near[k, chosen].any():
            chosen.append(k)
    left = [k for k in range(len(merged)) if k not in chosen]
    return chosen + left[: pipeline.candidates - len(chosen)]


def _key(candidate: Candidate) -> tuple:
    energy = candidate.energy_per_atom
    # Rounded: the last bits of an energy differ from machine to machine.
    return energy is None, round(energy or 0.0, 9), -candidate.agreement, candidate.sample, candidate.rank


def _merged(group: Sequence[Candidate]) -> Candidate:
    best = group[0]
    if len(group) == 1:
        return best
    samples = [c for c in group if c.members]
    return replace(
        best,
        sample=best.sample if best.sample >= 0 or not samples else samples[0].sample,
        members=tuple(sorted(member for c in samples for member in c.members)),
        agreement=min(1.0, math.fsum(c.agreement for c in samples)),
        spread=samples[0].spread if len(samples) == 1 else None,
        origin=joined_origin(group),
    )
