"""Relaxation of many structures at once in CHGNet's forces.

Structures move independently of each other, each with its own FIRE state.  Those that have converged or diverged leave
the batch at once and are replaced by waiting ones, so the batch is always full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS, load_chgnet_network
from inpaint_hpc.scoring.chgnet.network import ChgnetNetwork

from .optimizer_state import OptimizerState
from .saddle_points import leave_saddle_points
from .settings import Relaxation, RelaxSettings

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet


def relax(
    crystals: Sequence[Crystal],
    n_guests: int | Sequence[int] = 0,
    settings: RelaxSettings | None = None,
    *,
    model: str | CHGNet | ChgnetNetwork = DEFAULT_WEIGHTS,
    device: Any = None,
    row_budget: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Relaxation]:
    """Relax structures by FIRE; a bad one is reported and does not affect the others.

    A structure diverges when two atoms come closer than 0.5 A, its cell shrinks or grows fourfold, its energy stays
    above the lowest it had by 0.05 eV per atom for 50 steps, or a value is not a finite number.

    Args:
        crystals: structures; guests are their last atoms.
        n_guests: how many guests, for all crystals or for each; those that mode 'guests' moves, and that do not stay on
            saddle points in any mode.
        settings: what moves and until when; by default guests until 0.05 eV/A.
        model, device, row_budget: as `evaluate`; the budget decides how many structures move at once.
        progress: called with the number of structures finished since the last call.

    Returns:
        One `Relaxation` per crystal, in order.

    Raises:
        InputError: numbers of guests that do not fit, or as `evaluate`.
    """
    settings = settings or RelaxSettings()
    counts = [n_guests] * len(crystals) if isinstance(n_guests, int) else list(n_guests)
    _require_guests(crystals, counts, settings.mode)
    evaluator = BatchEvaluator(load_chgnet_network(model, device), "efs", row_budget)

    def once(
        crystals: Sequence[Crystal],
        counts: Sequence[int],
        settings: RelaxSettings,
        progress: Callable[[int], None] | None = None,
    ) -> list[Relaxation]:
        if not crystals:
            return []
        structures = OptimizerState(crystals, counts, settings.mode, settings.fire, evaluator.network.device)
        return _Run(structures, evaluator, settings, progress).results()

    results = once(crystals, counts, settings, progress)
    if settings.displacement == 0 or settings.max_steps == 0:
        return results
    return leave_saddle_points(results, counts, settings, evaluator, once)


def _require_guests(crystals: Sequence[Crystal], counts: list[int], mode: str) -> None:
    if len(counts) != len(crystals):
        raise InputError(f"{len(crystals)} crystals but {len(counts)} numbers of guests")
    for crystal, count in zip(crystals, counts, strict=True):
        if mode == "guests" and not 0 < count <= len(crystal):
            name = crystal.name or crystal.formula
            raise InputError(f"{name}: {count} guests among {len(crystal)} atoms; relaxing guests needs at least one")


class _Run:
    """Takes structures through their relaxation, as many at a time as the row budget allows."""

    def __init__(
        self,
        structures: OptimizerState,
        evaluator: BatchEvaluator,
        settings: RelaxSettings,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.structures, self.evaluator, self.settings, self.progress = structures, evaluator, settings, progress
        self.rows = evaluator.estimated_rows(structures.batch)
        self.finished: dict[int, Relaxation] = {}

    def results(self) -> list[Relaxation]:
        # The largest first: at the end only small ones are left to fill a batch together.
        waiting = deque(np.argsort(-self.rows, kind="stable").tolist())
        active: list[int] = []
        while active or waiting:
            budget, filled = self.evaluator.row_budget, sum(self.rows[k] for k in active)
            # When memory has run out the budget has fallen, and some have to wait again; their state stays as it is.
            while len(active) > 1 and filled > 1.5 * budget:
                filled -= self.rows[active[-1]]
                waiting.appendleft(active.pop())
            while waiting and (not active or filled + self.rows[waiting[0]] <= budget):
                filled += self.rows[waiting[0]]
                active.append(waiting.popleft())
            active = self._advance(active)
        return [self.finished[k] for k in range(len(self.structures))]

    def _advance(self, active: list[int]) -> list[int]:
        """Evaluate some structures and move them by one step; returns those still relaxing."""
        structures = self.structures
        group = structures.group(active)
        crystals = structures.crystals(group)
        evaluation = self.evaluator(crystals)
        errors = structures.record(group, crystals, evaluation)
        forces, stresses, rising = structures.criteria(group)
        steps = structures.steps[group.structures].tolist()
        going = []
        for position, (k, rows) in enumerate(zip(active, evaluation.rows.tolist(), strict=True)):
            self.rows[k] = rows or self.rows[k]
            outcome = self.settings.outcome(
                errors[position], forces[position], stresses[position], rising[position], steps[position]
            )
            if outcome is None:
                going.append(k)
            else:
                self.finished[k] = self._relaxation(k, *outcome, steps[position])
        if going:
            structures.step(group if len(going) == len(active) else structures.group(going))
        if self.progress is not None and len(going) < len(active):
            self.progress(len(active) - len(going))
        return going

    def _relaxation(self, k: int, outcome: str, reason: str, steps: int) -> Relaxation:
        structures = self.structures
        forces, stress = structures.forces_and_stress(k)
        return Relaxation(
            crystal=structures.crystal(k),
            energy_per_atom=float(structures.energies[k]),
            energy_per_atom_before=float(structures.before[k]),
            forces=forces,
            stress=stress,
            steps=steps,
            converged=outcome == "converged",
            diverged=outcome == "diverged",
            reason=reason,
        )
