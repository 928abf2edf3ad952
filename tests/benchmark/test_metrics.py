"""Intervals of shares."""

import pytest

from inpaint_hpc.benchmark.metrics import share_of


def test_intervals_are_over_frameworks():
    """A host that was tried a hundred times says no more than once."""
    values = [1.0] * 100 + [0.0, 1.0]
    many = share_of(values, ["a"] * 100 + ["b", "c"])
    apart = share_of(values, [str(k) for k in range(102)])
    assert many.mean == apart.mean == pytest.approx(101 / 102)
    assert many.low < 0.7 < 0.95 < apart.low
    assert share_of([], []).mean is None


def test_where_all_agree_the_interval_is_that_of_wilson():
    """Closed values: 1.959964^2 / (n + 1.959964^2) from the end, where n counts frameworks."""
    right = share_of([1.0] * 4, ["a", "a", "b", "c"], wilson=True)
    assert (right.mean, right.low, right.high) == (1.0, pytest.approx(0.438503, abs=1e-5), 1.0)
    wrong = share_of([0.0] * 10, list("abcdefghij"), wilson=True)
    assert (wrong.mean, wrong.low, wrong.high) == (0.0, 0.0, pytest.approx(0.277533, abs=1e-5))
    mixed = [1.0, 0.0, 1.0], list("abc")
    assert share_of(*mixed, wilson=True) == share_of(*mixed)
