"""In which order candidates are handed out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inpaint_hpc.sampling.tasks import Task

from .results import Candidate
from .settings import PipelineSettings
from .shortlist import VOID


def handed_out(task: Task, candidates: Sequence[Candidate], pipeline: PipelineSettings) -> list[int]:
    """Positions of candidates, best first: by energy, and with several guests as placed by agreement too.

    Args:
        task: the task.
        candidates: scored, relaxed or as placed.
        pipeline: settings.
    """
    order = by_energy(candidates)
    if pipeline.relaxes or not pipeline.host_stiffness or len(task.guests) < 2 or not len(task.host):
        return order
    return _by_agreement_too(candidates, order, len(task.host) + len(task.guests), pipeline.host_stiffness)


def by_energy(candidates: Sequence[Candidate]) -> list[int]:
    """Relaxed ones first, then unrelaxed ones, diverged ones, and those without an energy; each by energy.

    Where none was relaxed, a void that no sample shows comes after the first that samples show: in a frozen host CHGNet
    often finds it lower where the host, once it may give way, does not (docs/energetics.md).
    """

    def key(k: int) -> tuple:
        c = candidates[k]
        if c.energy_per_atom is None:
            group = 3
        elif c.relaxed is None:
            group = 1
        else:
            group = 0 if c.relaxed.sound else 2
        return group, c.ranking_energy or 0.0, -c.agreement, c.sample

    order = sorted(range(len(candidates)), key=key)
    shown = [k for k in order if candidates[k].origin != VOID and candidates[k].energy_per_atom is not None]
    if not shown or any(c.relaxed is not None for c in candidates):
        return order
    return [shown[0], *(k for k in order if k != shown[0])]


def order_note(task: Task, candidates: Sequence[Candidate]) -> list[str]:
    """A line where the first candidate, as placed, is not the lowest in energy because samples agree on it."""
    first = candidates[0] if candidates else None
    if len(task.guests) < 2 or first is None or first.energy_per_atom is None or first.max_force is None:
        return []
    lowest = min(c.energy_per_atom for c in candidates if c.energy_per_atom is not None)
    apart = 1e3 * (first.energy_per_atom - lowest) * (len(task.host) + len(task.guests)) / len(task.guests)
    if any(c.relaxed for c in candidates) or apart < 0.5:
        return []
    return [
        f"another candidate is {apart:.0f} meV per guest lower as placed, but the host has not relaxed around its "
        f"guests (forces of {first.max_force:.1f} eV/A), so what samples agree on counts too; relaxing all atoms and "
        f"the cell decides (--relax cell --top-k 4)"
    ]


def _by_agreement_too(candidates: Sequence[Candidate], order: list[int], n_atoms: int, stiffness: float) -> list[int]:
    """Energies as placed differ by what relaxing the host would give back, and say less the more that is.

    The scale is what one atom gives back, F^2 / (2 k), with the largest force in the lowest candidate and a spring of
    `stiffness`: so much weigh the samples, by the logarithm of their agreement, against the energy of the cell.  A host
    that was relaxed with guests in it has no forces, and energy alone decides.  No sample counts as half a one.
    """
    lowest = candidates[order[0]] if order else None
    shares = [c.agreement / c.count for c in candidates if c.members]
    if lowest is None or lowest.max_force is None or not shares:
        return order
    scale = lowest.max_force**2 / (2.0 * stiffness)
    half = min(shares) / 2.0

    def weighed(k: int) -> tuple:
        c = candidates[k]
        if c.energy_per_atom is None:
            return (math.inf,)
        # Rounded: the last bits of an energy differ from machine to machine, and equal ones keep their order.
        return (round(c.energy_per_atom * n_atoms - scale * math.log(max(c.agreement if c.members else 0.0, half)), 6),)

    return sorted(order, key=weighed)
