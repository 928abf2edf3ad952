"""Settings of sampling, and their cost in network evaluations (NFE)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from inpaint_hpc.errors import InputError

from .samplers import Ancestral, DpmSolver, Heun, PredictorCorrector, Sampler
from .schedules import SCHEDULES, noise_levels

SAMPLERS = ("ancestral", "predictor-corrector", "heun", "dpm-solver")
STRATEGIES = ("auto", "conditional", "sequential", "replacement", "repaint")


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample.  Settings with equal `steps` cost the same number of network evaluations, whatever the sampler.

    Attributes:
        samples: samples per task.
        steps: budget of network evaluations per sample; the number of noise levels follows from it (`n_levels`).
        sampler: `ancestral`, `predictor-corrector`, `heun`, or `dpm-solver` for 8 to 20 steps.
        strategy: `conditional` (host atoms clean; also all-atom generation), `sequential` (guests one after another,
            with `steps` shared among them), `replacement`, `repaint`, or `auto`: conditional here, and in the pipeline
            a search over the sites that the samples find, if there are several guests.
        seed: any whole number of at least 0.
        sigma_max, sigma_min: largest and smallest noise level in A; by default the trained range of the network.
        schedule: `geometric` or `karras`.
        corrector_steps: Langevin steps per level of the predictor-corrector.
        snr: relative step size of the corrector, in (0, 1).
        noise: factor on the noise of all samplers but `heun`; 1 draws from the learnt distribution, less favours the
            centres of sites.
        quiet_below: steps of these samplers to levels below this (A) have no noise; sharpens positions.
        jump_length, resamples: `repaint` goes back by this many levels, so that each block of levels is run
            `resamples` times.
        edge_budget: maximum graph edges per batch, which limits memory; by default chosen for the device.

    Raises:
        InputError: a value out of range, or too few steps for the sampler or strategy.
    """

    samples: int = 16
    steps: int = 40
    sampler: str = "ancestral"
    strategy: str = "auto"
    seed: int = 0
    sigma_max: float | None = None
    sigma_min: float | None = None
    schedule: str = "geometric"
    corrector_steps: int = 1
    snr: float = 0.16
    noise: float = 1.0
    quiet_below: float = 0.1
    jump_length: int = 10
    resamples: int = 3
    edge_budget: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("sampler", SAMPLERS), ("strategy", STRATEGIES), ("schedule", tuple(SCHEDULES))):
            if getattr(self, name) not in known:
                raise InputError(f"unknown {name} '{getattr(self, name)}': choose one of {', '.join(known)}")
        lowest = {"samples": 1, "steps": 1, "seed": 0, "corrector_steps": 1, "jump_length": 1, "resamples": 1}
        for name, low in lowest.items():
            _require_whole(name, getattr(self, name), low)
        if self.edge_budget is not None:
            _require_whole("edge_budget", self.edge_budget, 1)
        _require_range("snr", self.snr, 0.0, 1.0, open_ends=True)
        _require_range("noise", self.noise, 0.0, math.inf)
        _require_range("quiet_below", self.quiet_below, 0.0, math.inf)
        for name in ("sigma_max", "sigma_min"):
            if getattr(self, name) is not None:
                _require_range(name, getattr(self, name), 0.0, math.inf, open_ends=True)
        if self.sigma_min is not None and self.sigma_max is not None and self.sigma_min >= self.sigma_max:
            raise InputError(f"sigma_min must be < sigma_max: not {self.sigma_min:g} and {self.sigma_max:g} A")
        fewest = self._evaluations(self.jump_length + 2 if self.jumps else 2)
        if self.steps < fewest:
            what = f"{self.strategy} with the {self.sampler} sampler" if self.jumps else f"the {self.sampler} sampler"
            shorter = " or a shorter jump_length" if self.jumps else ""
            raise InputError(f"{self.steps} steps are too few for {what}: give at least {fewest} steps{shorter}")

    @property
    def jumps(self) -> bool:
        """Whether the strategy goes back to higher noise levels."""
        return self.strategy == "repaint" and self.resamples > 1

    @property
    def n_levels(self) -> int:
        """Noise levels: as many as `steps` network evaluations allow."""
        count = 2
        while self._evaluations(count + 1) <= self.steps:
            count += 1
        return count

    @property
    def nfe(self) -> int:
        """Network evaluations of one sample, at most `steps`."""
        return self._evaluations(self.n_levels)

    def _evaluations(self, n_levels: int) -> int:
        transitions = n_levels - 1
        # One repeated block ends at every jump_length-th level, counted from the last one.
        blocks = (transitions - 1) // self.jump_length if self.jumps else 0
        downward = transitions + (self.resamples - 1) * self.jump_length * blocks
        return downward * self.make_sampler().evaluations + 1

    def make_sampler(self) -> Sampler:
        """The sampler these settings describe."""
        if self.sampler == "heun":
            return Heun()
        if self.sampler == "ancestral":
            return Ancestral(self.noise, self.quiet_below)
        if self.sampler == "dpm-solver":
            return DpmSolver(self.noise, self.quiet_below)
        return PredictorCorrector(self.noise, self.quiet_below, self.corrector_steps, self.snr)

    def starting_at(self, sigma: float, **changes: Any) -> SamplingSettings:
        """These settings from level `sigma` (A) on; a smallest level that is not below it becomes the trained one."""
        low = self.sigma_min if self.sigma_min is not None and self.sigma_min < sigma else None
        return replace(self, sigma_max=sigma, sigma_min=low, **changes)

    def levels(self, sigma_max: float, sigma_min: float) -> np.ndarray:
        """Noise levels in A, (n_levels,), for a network trained from `sigma_min` to `sigma_max` (A).

        Raises:
            InputError: the settings request levels outside the trained range.
        """
        top = sigma_max if self.sigma_max is None else self.sigma_max
        bottom = sigma_min if self.sigma_min is None else self.sigma_min
        # Tolerance for numbers rounded to a few digits.
        if top > sigma_max * 1.000001 or bottom < sigma_min * 0.999999:
            raise InputError(
                f"noise levels from {top:g} to {bottom:g} A are outside of what the network was trained for "
                f"({sigma_max:g} to {sigma_min:g} A)"
            )
        return noise_levels(self.schedule, self.n_levels, top, bottom)

    def path(self) -> list[int]:
        """Rows of `levels` in the order of visits: downwards, with the jumps of `repaint`.

        Blocks are counted from the last level, and the block at sigma_max is never repeated (there is nothing to
        harmonise in uniform noise): the schedule of Lugmayr et al., CVPR 2022.
        """
        last = self.n_levels - 1
        path = [0]
        for level in range(1, last + 1):
            path.append(level)
            if self.jumps and (last - level) % self.jump_length == 0 and level > self.jump_length:
                path += [*range(level - self.jump_length, level + 1)] * (self.resamples - 1)
        return path


def nfe(settings: SamplingSettings) -> int:
    """Network evaluations of one sample."""
    return settings.nfe


def _require_whole(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, not {value!r}")


def _require_range(name: str, value: object, low: float, high: float, open_ends: bool = False) -> None:
    number = float(value) if isinstance(value, Real) else math.nan
    inside = low < number < high if open_ends else low <= number < high
    if not inside:
        bound = f"above {low:g}" if open_ends else f"at least {low:g}"
        raise InputError(f"{name} must be {bound}{'' if math.isinf(high) else f' and below {high:g}'}, not {value!r}")
