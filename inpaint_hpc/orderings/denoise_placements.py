"""Refinement of placements by the score model: a little noise is added, then all guests are denoised together.

Sites are means over samples of single guests; several guests repel each other.  The network has learnt that, and a few
evaluations move the guests to their joint positions, without computing any energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

SIGMA = 0.1  # A; guests move slightly but stay on their sites
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
    """`refine_many` of one task: placements (M, n, 3) in, placements out."""
    return refine_many(network, [task], [frac_coords], sampling, sigma, steps, device)[0]


def refine_many(
    network: Any,
    tasks: Sequence[Task],
    frac_coords: Sequence[np.ndarray],
    sampling: SamplingSettings | None = None,
    sigma: float = SIGMA,
    steps: int = STEPS,
    device: Any = None,
) -> list[np.ndarray]:
    """Refine placements of several tasks in full batches.

    Args:
        network: a score network.
        tasks: the tasks.
        frac_coords: guests of the placements of each task, (M, n, 3).
        sampling: sampler, schedule and seed.
        sigma: noise added to the guests, A; at least twice the smallest that the network was trained for.
        steps: network evaluations of each placement.
        device: by default that of the network.

    Returns:
        Fractional coordinates in [0, 1) of each task's placements, float64 (M, n, 3), in the same order; a placement's
        result does not depend on the others beyond the rounding of the network.

    Raises:
        InputError: as `sample`.
    """
    start = [
        np.asarray(coords, dtype=np.float64).reshape(-1, len(task.guests), 3)
        for task, coords in zip(tasks, frac_coords, strict=True)
    ]
    counts = [len(coords) for coords in start]
    settings = (sampling or SamplingSettings()).starting_at(
        max(sigma, 2.0 * float(network.sigma_min)), samples=max(1, *counts, 1), steps=steps, strategy="conditional"
    )
    named = [replace(task, random_id=f"{task.id}:refine") for task in tasks]
    found = sample(network, named, settings, device, samples=counts, start=start)
    return [one.frac_coords for one in found]
