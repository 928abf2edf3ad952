"""Measures how well probabilities predict correctness: reliability, calibration error, discrimination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence.

    Attributes:
        count: how many.
        predicted: their mean confidence, 0 to 1.
        correct: share of them that is correct.
    """

    count: int
    predicted: float
    correct: float


def reliability(confidence: Sequence[float], correct: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Bins of equal width from 0 to 1; empty ones are left out.

    Raises:
        ValueError: lengths differ, or a confidence is not between 0 and 1.
    """
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if p.shape != right.shape or p.ndim != 1:
        raise ValueError(f"{p.size} confidences but {right.size} outcomes")
    if len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError("a confidence lies outside of 0 to 1")
    which = np.minimum((p * bins).astype(int), bins - 1)
    members = (which == k for k in range(bins))
    return [Bin(int(m.sum()), float(p[m].mean()), float(right[m].mean())) for m in members if m.any()]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: |predicted - correct| averaged over predictions (M. P. Naeini, G. F. Cooper and
    M. Hauskrecht, AAAI 2015); NaN without predictions."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.predicted - b.correct) for b in bins) / total if total else float("nan")


def chance_error(confidence: Sequence[float], draws: int = 400) -> float:
    """Mean calibration error where outcomes come about with just these probabilities: what few predictions cannot
    tell from none."""
    p, rng = np.asarray(confidence, dtype=float), np.random.default_rng(0)
    return float(
        np.mean([calibration_error(reliability(p.tolist(), (rng.random(len(p)) < p).tolist())) for _ in range(draws)])
    )


def brier_score(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    """Mean squared difference between confidence and outcome (G. W. Brier, Mon. Weather Rev. 78, 1 (1950))."""
    return float(np.mean((np.asarray(confidence, dtype=float) - np.asarray(correct, dtype=float)) ** 2))


def discrimination(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    """Probability that, of a correct and a wrong prediction, the correct one is more confident: the area under the ROC
    curve; NaN without both."""
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    if right.all() or not right.any():
        return float("nan")
    difference = p[right][:, None] - p[~right][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
