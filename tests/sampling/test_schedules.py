"""Noise levels."""

import numpy as np
import pytest

from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.schedules import SCHEDULES, noise_levels


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("count", [2, 3, 40])
def test_levels_fall_from_end_to_end_exactly(schedule, count):
    levels = noise_levels(schedule, count, 3.5, 0.03)
    assert len(levels) == count and levels[0] == 3.5 and levels[-1] == 0.03
    assert np.all(np.diff(levels) < 0)


def test_geometric_levels_have_a_constant_ratio():
    levels = noise_levels("geometric", 11, 10.0, 0.1)
    assert np.allclose(levels[1:] / levels[:-1], 0.01**0.1, rtol=1e-12)


def test_karras_levels_are_even_in_the_seventh_root():
    roots = noise_levels("karras", 11, 10.0, 0.1) ** (1 / 7)
    assert np.allclose(np.diff(roots), (0.1 ** (1 / 7) - 10.0 ** (1 / 7)) / 10, rtol=1e-9)


def test_one_level_is_the_largest():
    assert noise_levels("karras", 1, 3.5, 0.03).tolist() == [3.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", 5, 3.5, 0.03), "unknown schedule 'linear': choose one of geometric, karras"),
        (("geometric", 0, 3.5, 0.03), "at least 1 noise level"),
        (("geometric", 5, 0.03, 3.5), "0 < sigma_min < sigma_max"),
        (("geometric", 5, 3.5, 0.0), "0 < sigma_min < sigma_max"),
        (("geometric", 5, float("inf"), 0.1), "0 < sigma_min < sigma_max"),
        (("geometric", 5, float("nan"), 0.1), "0 < sigma_min < sigma_max"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        noise_levels(*arguments)
