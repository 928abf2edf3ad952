"""Measures whether agreement among samples predicts correctness: reliability and calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from inpaint_hpc.sampling.deduplication import calibrated_agreement


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


def fit_sharpness(agreement: Sequence[float], correct: Sequence[bool]) -> float:
    """The k with which 1 - (1 - agreement)^k (`calibrated_agreement`) is most likely, between 0.1 and 20.

    Raises:
        ValueError: no predictions.
    """
    a, right = np.asarray(agreement, dtype=float), np.asarray(correct, dtype=bool)
    if not len(a):
        raise ValueError("nothing to fit")

    def surprise(k: float) -> float:
        p = np.clip(calibrated_agreement(a, k), 1e-3, 1 - 1e-3)
        return -float(np.log(np.where(right, p, 1 - p)).mean())

    return float(minimize_scalar(surprise, bounds=(0.1, 20.0), method="bounded").x)


def cross_validated(agreement: Sequence[float], correct: Sequence[bool], folds: int = 5) -> np.ndarray:
    """Calibrated agreement of each prediction, by the sharpness that fits the other folds, (n,)."""
    a, right = np.asarray(agreement, dtype=float), np.asarray(correct, dtype=bool)
    fold = np.arange(len(a)) % folds
    p = np.zeros(len(a))
    for k in range(folds):
        p[fold == k] = calibrated_agreement(a[fold == k], fit_sharpness(a[fold != k], right[fold != k]))
    return p


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
