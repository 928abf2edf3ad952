"""Placements settled by the score model: noised a little, then all guests denoised together.

Sites are means over samples of single guests; several guests repel each other.  The network knows that, and a few of
its evaluations move the guests to where they belong together, without any energy.  On electrode hosts the energy as
placed gains nothing by it in the median, so the default search does without; docs/many-guests.md has the figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

SIGMA = 0.3  # A; less than the way to another site
STEPS = 10


def refine(
    network: Any,
    task: Task,
    frac_coords: np.ndarray,
    sampling: SamplingSettings | None = None,
    sigma: float = SIGMA,
    steps: int = STEPS,
    device: Any = None,
) -> np.ndarray:
    """Settle placements of one task.

    Args:
        network: a score network.
        task: the task.
        frac_coords: guests of each placement, (M, n, 3).
        sampling: sampler, schedule and seed.
        sigma: noise that is put on the guests, A.
        steps: network evaluations of each placement.
        device: by default that of the network.

    Returns:
        Fractional coordinates in [0, 1), float64 (M, n, 3), in the same order; a placement's result does not depend on
        the others beyond the rounding of the network.

    Raises:
        InputError: as `sample`.
    """
    frac_coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, len(task.guests), 3)
    settings = replace(
        sampling or SamplingSettings(), samples=max(1, len(frac_coords)), steps=steps, sigma_max=sigma,
        strategy="conditional",
    )  # fmt: skip
    named = replace(task, random_id=f"{task.id}:refine")
    return sample(network, [named], settings, device, samples=len(frac_coords), start=[frac_coords])[0].frac_coords
