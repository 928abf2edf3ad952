"""What a relaxation may move and until when, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError

from .fire import FireSettings
from .optimizer_state import ENERGY_RISE

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
