"""Relaxation of many structures at once in CHGNet's forces.

Structures move independently of each other, each with its own FIRE state.  Those that have converged or diverged leave
the batch at once and are replaced by waiting ones, so the batch is always full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS, load_chgnet_network
from inpaint_hpc.scoring.chgnet.network import ChgnetNetwork

from .fire import FireSettings
from .optimizer_state import ENERGY_RISE, OptimizerState
from .saddle_points import leave_saddle_points

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet

MODES = ("guests", "positions", "cell")
# Evaluations in a row with an energy that is clearly above the lowest, after which it will not come down again.
RISING_STEPS = 50


@dataclass(frozen=True)
class RelaxSettings:
    """What may move, and until when.

    Attributes:
        mode: 'guests' moves the guests in a frozen host, 'positions' all atoms in a fixed cell, 'cell' all atoms and
            the cell (as ASE's FrechetCellFilter).
        fmax: converged when no force exceeds it, eV/A.  In mode 'cell' this holds for the forces on the cell as well,
            `volume * stress / atoms` in eV/A, as in ASE.
        max_steps: maximum number of steps per structure.
        max_stress: in mode 'cell', largest component of the stress allowed too, GPa.
        fire: parameters of FIRE.
        displacement: A; once converged, the guests in a host are displaced by this to see whether they are on a saddle
            point, and leave it if so (`saddle_points`).  0 takes every point without forces, as ASE does.

    Raises:
        InputError: unknown mode, or a threshold that is not positive.
    """

    mode: str = "guests"
    fmax: float = 0.05
    max_steps: int = 500
    max_stress: float | None = None
    fire: FireSettings = field(default_factory=FireSettings)
    displacement: float = 0.05

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"unknown mode of relaxation '{self.mode}'; choose one of {', '.join(MODES)}")
        if not self.fmax > 0 or (self.max_stress is not None and not self.max_stress > 0):
            raise InputError("the thresholds of force and stress must be positive")
        if self.max_steps < 0:
            raise InputError(f"the number of steps must not be negative, not {self.max_steps}")
        if not 0 <= self.displacement <= 0.5:
            raise InputError(f"the displacement must be from 0 to 0.5 A, not {self.displacement}")

    def outcome(self, error: str, force: float, stress: float, rising: int, steps: int) -> tuple[str, str] | None:
        """'converged', 'diverged' or 'unfinished', and the reason in one line; None while it is still relaxing."""
        tight = self.max_stress is None or self.mode != "cell" or stress < self.max_stress
        if error:
            return "diverged", error
        if force < self.fmax and tight:
            return "converged", f"converged in {steps} steps"
        if rising >= RISING_STEPS:
            return "diverged", f"its energy stays {ENERGY_RISE} eV per atom or more above the lowest it had"
        if steps >= self.max_steps:
            return "unfinished", f"not converged in {steps} steps: largest force {force:.3f} eV/A"
        return None


@dataclass(frozen=True)
class Relaxation:
    """The result of relaxing one structure.

    Attributes:
        crystal: the structure at its last sound evaluation (the input, if there was none), in the input's order, not
            wrapped.  Rows that could not move are bit-for-bit those of the input.
        energy_per_atom: of `crystal`, eV; NaN without a sound evaluation.
        energy_per_atom_before: of the input, eV; NaN if it could not be evaluated.
        forces: of `crystal`, on all atoms, eV/A, float64 (n, 3).
        stress: of `crystal`, GPa, float64 (3, 3).
        steps: steps taken.
        converged: forces (and stress) fell below the threshold.
        diverged: the structure could not be evaluated or relaxed; `crystal` is not a minimum.
        reason: why it stopped, one line.
    """

    crystal: Crystal
    energy_per_atom: float
    energy_per_atom_before: float
    forces: np.ndarray
    stress: np.ndarray
    steps: int
    converged: bool
    diverged: bool
    reason: str

    @property
    def max_force(self) -> float:
        """Largest force on any atom, eV/A."""
        return float(np.linalg.norm(self.forces, axis=1).max(initial=0.0))


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
