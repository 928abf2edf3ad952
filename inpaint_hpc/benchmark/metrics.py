"""Shares of hosts with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """A mean over hosts with the 95 % interval of a bootstrap over frameworks; None without hosts."""

    mean: float | None
    low: float | None
    high: float | None


def share_of(values: Sequence[float], frameworks: Sequence[str], resamples: int = 2000, seed: int = 0) -> Share:
    """Mean of values, and its interval when frameworks, with all their values, are drawn again.

    Args:
        values: one for each task, (N,).
        frameworks: what each of them is about, (N,); tasks in one host are not independent.
        resamples: draws of the bootstrap.
        seed: of it.
    """
    if not len(values):
        return Share(None, None, None)
    owner = np.unique(np.asarray(frameworks), return_inverse=True)[1]
    sums, counts = np.bincount(owner, np.asarray(values, dtype=np.float64)), np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Share(float(np.mean(values)), float(low), float(high))
