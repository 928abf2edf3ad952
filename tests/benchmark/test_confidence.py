"""Reliability, calibration error and discrimination on predictions whose truth is known."""

import numpy as np
import pytest

from inpaint_hpc.benchmark.confidence import (
    brier_score,
    calibration_error,
    chance_error,
    discrimination,
    reliability,
)


def test_a_calibrated_predictor_has_no_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=200_000)
    correct = rng.uniform(size=len(p)) < p
    bins = reliability(p, correct)
    assert len(bins) == 10 and sum(b.count for b in bins) == len(p)
    assert calibration_error(bins) < 0.01
    assert calibration_error(reliability(p, rng.uniform(size=len(p)) < p**2)) == pytest.approx(1 / 6, abs=0.01)


def test_certainty_and_empty_bins():
    bins = reliability([1.0, 1.0, 0.0, 0.55], [True, False, False, True])
    assert [(b.count, b.correct) for b in bins] == [(1, 0.0), (1, 1.0), (2, 0.5)]
    assert calibration_error(bins) == pytest.approx((0 + 0.45 + 2 * 0.5) / 4)
    assert np.isnan(calibration_error([]))
    with pytest.raises(ValueError, match="outside"):
        reliability([1.2], [True])
    with pytest.raises(ValueError, match="2 confidences but 1"):
        reliability([0.1, 0.2], [True])


def test_discrimination_and_brier_score():
    assert discrimination([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert discrimination([0.5, 0.5], [True, False]) == 0.5
    assert np.isnan(discrimination([0.5], [True]))
    assert brier_score([1.0, 0.5], [True, False]) == pytest.approx(0.125)


def test_few_predictions_have_an_error_by_chance():
    assert chance_error([0.0, 1.0, 1.0]) == 0.0
    few, many = (chance_error(np.linspace(0.0, 1.0, n)) for n in (20, 2000))
    assert 0.1 < few < 0.5 and many < 0.05
