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
