"""Noise levels of the variance-exploding SDE, sigma in A."""

from __future__ import annotations

import math

import torch


def stratified_log_uniform(
    shape: tuple[int, int],
    low: float,
    high: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Noise levels (rows, draws), log-uniform in [low, high] A, one draw in each of `draws` equal strata of a row.

    Strata make the loss of one structure an almost even integral over noise levels: less gradient noise for the
    same number of network calls.
    """
    rows, draws = shape
    u = torch.rand(rows, draws, generator=generator, device=device)
    u = (u + torch.arange(draws, device=device)) / draws
    return torch.exp(math.log(low) + u * (math.log(high) - math.log(low)))
