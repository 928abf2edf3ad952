"""One step of a sampler: from positions at one noise level to positions at a lower one.

A sampler knows nothing about hosts, cells or batches: it is given the positions of the guests, a score function and a
source of noise.  Strategies decide what the score function is.  All solve the reverse of the variance-exploding SDE
dx = sqrt(d sigma^2 / dt) dw (Song et al., "Score-based generative modeling through SDEs", ICLR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from .counter_rng import Purpose

# |sigma score|^2 from which on Langevin steps are shortened: four times the average of a guest at its noise level,
# exceeded by 0.7 % of them, so that the distribution stays what it is.
LARGE_SCORE = 12.0

Score = Callable[[torch.Tensor, float], torch.Tensor]
"""(positions in A (G, 3), sigma in A) -> sigma * score, dimensionless (G, 3); one network evaluation."""

Noise = Callable[[Purpose], torch.Tensor]
"""purpose -> standard normal numbers (G, 3), fresh ones at every call."""


class Sampler(Protocol):
    """Interface of a sampler for the sampling loop."""

    @property
    def evaluations(self) -> int:
        """Network evaluations of one step."""

    def step(
        self, positions: torch.Tensor, sigma_from: float, sigma_to: float, score: Score, noise: Noise
    ) -> torch.Tensor:
        """Positions (G, 3) in A at level `sigma_to` from positions at the higher level `sigma_from` (A)."""


@dataclass(frozen=True)
class Ancestral:
    """Ancestral sampling: the exact posterior step for a known clean position.

    x' = x + (s^2 - s'^2) score + noise * s' sqrt(1 - s'^2 / s^2) z  (Song et al., equation 47).

    Attributes:
        noise: factor on the noise; below 1 the sampler prefers the centre of a site to its edge.
        quiet_below: steps to levels below this (A) have no noise: the choice of sites is over by then, and what
            remains of the noise only blurs them.
    """

    noise: float = 1.0
    quiet_below: float = 0.0

    @property
    def evaluations(self) -> int:
        """Network evaluations of a step."""
        return 1

    def step(
        self, positions: torch.Tensor, sigma_from: float, sigma_to: float, score: Score, noise: Noise
    ) -> torch.Tensor:
        """Positions at the next noise level; see `Sampler.step`."""
        moved = positions + (sigma_from - sigma_to**2 / sigma_from) * score(positions, sigma_from)
        spread = self.noise_factor(sigma_to) * sigma_to * math.sqrt(1.0 - (sigma_to / sigma_from) ** 2)
        return moved + spread * noise(Purpose.PREDICTOR) if spread > 0.0 else moved

    def noise_factor(self, sigma_to: float) -> float:
        """Factor on the noise of a step to `sigma_to`."""
        return 0.0 if sigma_to < self.quiet_below else self.noise


@dataclass(frozen=True)
class PredictorCorrector(Ancestral):
    """An ancestral step, then Langevin steps at the level reached (Song et al., algorithms 2 and 4).

    x <- x + e score + sqrt(2 e) z with e = 2 (snr * s)^2 min(1, 12 / |s score|^2) for each guest.

    Song et al. take e = 2 (snr |z| / |score|)^2 with norms averaged over a batch, Dai et al. with those of each atom:
    the former makes a sample depend on its batch, the latter diverges where the score vanishes (on every site, and
    everywhere once s reaches the cell) and, as the step then depends on the position, draws from a distribution 10 to
    20 % too wide.  Here the ratio is replaced by what it is on average for a guest at its noise level, |z|^2 =
    |s score|^2 = 3; only a score of more than twice that norm (a guest on top of an atom) shortens the step.

    Attributes:
        corrector_steps: Langevin steps after each predictor step.
        snr: "signal-to-noise ratio" r of the step size; below 1, or the chain is unstable.
    """

    corrector_steps: int = 1
    snr: float = 0.16

    @property
    def evaluations(self) -> int:
        """Network evaluations of a step."""
        return 1 + self.corrector_steps

    def step(
        self, positions: torch.Tensor, sigma_from: float, sigma_to: float, score: Score, noise: Noise
    ) -> torch.Tensor:
        """Positions at the next noise level; see `Sampler.step`."""
        x = super().step(positions, sigma_from, sigma_to, score, noise)
        for _ in range(self.corrector_steps):
            scaled = score(x, sigma_to)
            step = langevin_step(scaled, self.snr)
            x = x + sigma_to * step * scaled
            factor = self.noise_factor(sigma_to)
            if factor > 0.0:
                x = x + factor * sigma_to * torch.sqrt(2.0 * step) * noise(Purpose.CORRECTOR)
        return x


@dataclass(frozen=True)
class Heun:
    """Probability-flow ODE dx / d sigma = -sigma score, by Heun's second-order rule (Karras et al., NeurIPS 2022).

    Deterministic: a sample depends on its starting positions alone.
    """

    @property
    def evaluations(self) -> int:
        """Network evaluations of a step."""
        return 2

    def step(
        self, positions: torch.Tensor, sigma_from: float, sigma_to: float, score: Score, noise: Noise
    ) -> torch.Tensor:
        """Positions at the next noise level; see `Sampler.step`."""
        fall = sigma_from - sigma_to
        first = score(positions, sigma_from)
        second = score(positions + fall * first, sigma_to)
        return positions + (0.5 * fall) * (first + second)


class DpmSolver:
    """Second-order multistep solver of the reverse SDE, SDE-DPM-Solver++(2M): one evaluation per step.

    With h = log(s / s'), the clean positions D(x, s) = x + s^2 score, and h_0, D_0 those of the step before:

    x' = (s' / s)^2 x + (1 - (s' / s)^2) (D + (D - D_0) h / (2 h_0)) + noise * s' sqrt(1 - s'^2 / s^2) z.

    Lu et al., "DPM-Solver++", arXiv 2211.01095, with alpha = 1.  It is the ancestral step for clean positions that are
    extrapolated to the middle of the step in log s.  For few steps; a first step, or one from another level than the
    last one led to (`repaint`), is ancestral.  An object keeps the state of one run: make one per batch.

    Args:
        noise, quiet_below: as `Ancestral`.
    """

    evaluations = 1

    def __init__(self, noise: float = 1.0, quiet_below: float = 0.0) -> None:
        self._first_order = Ancestral(noise, quiet_below)
        self._last: tuple[float, float, torch.Tensor] | None = None  # level reached, h_0, D_0

    def step(
        self, positions: torch.Tensor, sigma_from: float, sigma_to: float, score: Score, noise: Noise
    ) -> torch.Tensor:
        """Positions at the next noise level; see `Sampler.step`."""
        clean = positions + sigma_from * score(positions, sigma_from)
        h, middle = math.log(sigma_from / sigma_to), clean
        if self._last is not None and self._last[0] == sigma_from:
            _, last_h, last_clean = self._last
            middle = clean + (0.5 * h / last_h) * (clean - last_clean)
        self._last = sigma_to, h, clean
        return self._first_order.step(positions, sigma_from, sigma_to, lambda x, sigma: (middle - x) / sigma, noise)


def langevin_step(scaled: torch.Tensor, snr: float) -> torch.Tensor:
    """Size of a Langevin step in units of sigma^2, (G, 1), of scaled scores (G, 3); at most 2 snr^2."""
    x, y, z = scaled.unbind(1)
    # Written out: a sum over an axis may change its order, so its last bits, with the size of the batch.
    square = x * x + y * y + z * z
    return (2.0 * snr**2 * torch.clamp(LARGE_SCORE / square, max=1.0))[:, None]
