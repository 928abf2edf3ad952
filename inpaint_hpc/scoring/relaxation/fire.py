"""FIRE for many structures at once, each with its own time step and inertia.

E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), in the arithmetic of ASE's `FIRE`: the same forces give the same
steps, so that relaxations can be compared step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from inpaint_hpc.kernels.rows import Rows


@dataclass(frozen=True)
class FireSettings:
    """Parameters of FIRE; the defaults are ASE's.

    Attributes:
        dt: first time step, in units in which masses are 1.
        dt_max: longest time step.
        max_step: longest step of a structure, as the norm over all its coordinates, A.
        n_min: downhill steps before the time step grows.
        f_inc, f_dec: growth and cut of the time step.
        alpha, f_alpha: first mixing of velocity and force, and its decay.
    """

    dt: float = 0.1
    dt_max: float = 1.0
    max_step: float = 0.2
    n_min: int = 5
    f_inc: float = 1.1
    f_dec: float = 0.5
    alpha: float = 0.1
    f_alpha: float = 0.99


class Fire:
    """State of FIRE for structures of any number of coordinates (rows of three).

    Args:
        n_structures: number of structures.
        n_rows: rows of all structures together.
        settings: `FireSettings`.
        device: torch device of the state, which is float64.
    """

    def __init__(self, n_structures: int, n_rows: int, settings: FireSettings, device: Any = None) -> None:
        options = {"dtype": torch.float64, "device": device}
        self.settings = settings
        self.velocity = torch.zeros(n_rows, 3, **options)
        self.dt = torch.full((n_structures,), settings.dt, **options)
        self.alpha = torch.full((n_structures,), settings.alpha, **options)
        self.downhill = torch.zeros(n_structures, dtype=torch.long, device=device)
        self.started = torch.zeros(n_structures, dtype=torch.bool, device=device)

    def step(
        self, structures: torch.Tensor, rows: torch.Tensor, owner: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """One step of some of the structures.

        Args:
            structures: which, int64 (K,).
            rows: their rows of the state, int64 (R,).
            owner: position in `structures` of each row, int64 (R,).
            forces: force on each row, float64 (R, 3), eV/A for positions in A.

        Returns:
            displacement of each row, float64 (R, 3).
        """
        s = self.settings
        owners = Rows(owner, len(structures))

        def over_structure(values: torch.Tensor) -> torch.Tensor:
            return owners.sum(values.sum(1))

        velocity, dt, alpha = self.velocity[rows], self.dt[structures], self.alpha[structures]
        downhill, started = self.downhill[structures], self.started[structures]
        down = over_structure(velocity * forces) > 0
        stop = started & ~down
        speed, force = over_structure(velocity * velocity).sqrt(), over_structure(forces * forces).sqrt()
        mixing = torch.where(down, alpha, 0.0)
        along = mixing * speed / force.clamp(min=torch.finfo(torch.float64).tiny)
        keep = torch.where(stop, 0.0, 1.0 - mixing)
        velocity = keep[owner, None] * velocity + along[owner, None] * forces

        faster = down & (downhill > s.n_min)
        dt = torch.where(faster, (dt * s.f_inc).clamp(max=s.dt_max), torch.where(stop, dt * s.f_dec, dt))
        alpha = torch.where(faster, alpha * s.f_alpha, torch.where(stop, torch.full_like(alpha, s.alpha), alpha))
        velocity = velocity + dt[owner, None] * forces
        displacement = dt[owner, None] * velocity
        length = over_structure(displacement * displacement).sqrt()
        displacement = displacement * (s.max_step / length.clamp(min=s.max_step))[owner, None]

        self.velocity[rows], self.dt[structures], self.alpha[structures] = velocity, dt, alpha
        self.downhill[structures] = torch.where(down, downhill + 1, torch.zeros_like(downhill))
        self.started[structures] = True
        return displacement
