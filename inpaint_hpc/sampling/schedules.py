"""Sequences of noise levels from sigma_max down to sigma_min, in A."""

from __future__ import annotations

import numpy as np

from inpaint_hpc.errors import InputError

RHO = 7.0  # Karras et al., table 1


def geometric(count: int, sigma_max: float, sigma_min: float) -> np.ndarray:
    """`count` levels with a constant ratio, (count,): the schedule of Song et al., ICLR 2021, appendix C."""
    return sigma_max * (sigma_min / sigma_max) ** np.linspace(0.0, 1.0, count)


def karras(count: int, sigma_max: float, sigma_min: float, rho: float = RHO) -> np.ndarray:
    """`count` levels equally spaced in sigma**(1/rho), (count,): Karras et al., NeurIPS 2022, equation 5."""
    root_max, root_min = sigma_max ** (1.0 / rho), sigma_min ** (1.0 / rho)
    return (root_max + np.linspace(0.0, 1.0, count) * (root_min - root_max)) ** rho


SCHEDULES = {"geometric": geometric, "karras": karras}


def noise_levels(schedule: str, count: int, sigma_max: float, sigma_min: float) -> np.ndarray:
    """Noise levels at which the network is evaluated, float64 (count,), strictly decreasing.

    The first is sigma_max and, from two levels on, the last is sigma_min; from there one denoising step without noise
    leads to the result.

    Args:
        schedule: name of one of `SCHEDULES`.
        count: number of levels, at least 1.
        sigma_max, sigma_min: largest and smallest level in A.

    Raises:
        InputError: unknown schedule, no levels, or levels that do not decrease.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"unknown schedule '{schedule}': choose one of {', '.join(SCHEDULES)}")
    if count < 1:
        raise InputError(f"a schedule needs at least 1 noise level, not {count}")
    if not 0.0 < sigma_min < sigma_max < float("inf"):
        raise InputError(
            f"sigma_min and sigma_max must obey 0 < sigma_min < sigma_max, not {sigma_min:g}, {sigma_max:g} A"
        )
    levels = SCHEDULES[schedule](count, sigma_max, sigma_min)
    # Powers and roots do not return the end points exactly, and the network is not trained beyond them.
    levels[-1] = sigma_min
    levels[0] = sigma_max
    return levels
