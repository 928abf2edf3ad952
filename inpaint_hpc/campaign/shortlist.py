"""The candidates that are handed out, of all that were scored: equal ones once, the best few, and the most agreed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inpaint_hpc.sampling.deduplication import equal_samples
from inpaint_hpc.sampling.tasks import Task

from .minima import joined_origin
from .pipeline_settings import PipelineSettings
from .results import Candidate

AGREED = 4  # candidates that stay because most samples agree on them, whatever their energy


def shortlist(task: Task, candidates: Sequence[Candidate], pipeline: PipelineSettings) -> list[Candidate]:
    """At most `pipeline.candidates` different candidates, lowest energy first.

    Of equal ones, within `pipeline.tolerance` under the host's symmetry, the lowest in energy stays, with the samples
    of all.  Four places are kept for those that most samples agree on: a potential can be wrong about the order.

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
    agreed = sorted((k for k, c in enumerate(merged) if c.members), key=lambda k: (-merged[k].agreement, k))[:AGREED]
    agreed = agreed[: pipeline.candidates]
    best = [k for k in range(len(merged)) if k not in agreed][: pipeline.candidates - len(agreed)]
    return [merged[k] for k in sorted([*agreed, *best])]


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
