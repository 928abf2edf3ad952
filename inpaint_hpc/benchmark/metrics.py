"""Shares of hosts with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959964  # of 95 % of a normal distribution


@dataclass(frozen=True)
class Share:
    """A mean over hosts with its 95 % interval, over frameworks; None without hosts."""

    mean: float | None
    low: float | None
    high: float | None


def share_of(
    values: Sequence[float], frameworks: Sequence[str], resamples: int = 2000, seed: int = 0, wilson: bool = False
) -> Share:
    """Mean of values, and its interval when frameworks, with all their values, are drawn again.

    Args:
        values: one for each task, (N,).
        frameworks: what each of them is about, (N,); tasks in one host are not independent.
        resamples: draws of the bootstrap.
        seed: of it.
        wilson: where all values are 0, or all are 1, and a bootstrap has no width, take the interval of E. B. Wilson,
            J. Am. Stat. Assoc. 22, 209 (1927), with a framework as one trial.
    """
    if not len(values):
        return Share(None, None, None)
    owner = np.unique(np.asarray(frameworks), return_inverse=True)[1]
    sums, counts = np.bincount(owner, np.asarray(values, dtype=np.float64)), np.bincount(owner)
    if wilson and (sums == 0).all() | (sums == counts).all():
        width = Z**2 / (len(sums) + Z**2)
        return Share(0.0, 0.0, width) if sums[0] == 0 else Share(1.0, 1.0 - width, 1.0)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Share(float(np.mean(values)), float(low), float(high))
