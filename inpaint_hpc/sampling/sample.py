"""Draw samples: tasks in, guest positions out.

Example:
    settings = SamplingSettings(samples=16, steps=40)
    for result in sample(network, [Task(host, {"Li": 1})], settings):
        structures = [crystal.to_structure() for crystal in result.crystals()]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from inpaint_hpc.crystals.checking import MAX_ATOMIC_NUMBER
from inpaint_hpc.errors import InputError

from .joint import Progress, network_device, sample_jointly
from .sequential import sample_sequentially
from .settings import SamplingSettings, nfe
from .strategies import Network
from .tasks import SampleSet, Task

__all__ = ["Progress", "SampleSet", "SamplingSettings", "Task", "nfe", "sample"]


def sample(
    network: Network,
    tasks: Sequence[Task],
    settings: SamplingSettings | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    first_sample: int | Sequence[int] = 0,
    samples: int | Sequence[int] | None = None,
    start: Sequence[np.ndarray] | None = None,
) -> list[SampleSet]:
    """Draw samples of tasks.

    A sample is determined by its task's content, its index, the settings (but not `samples` or `edge_budget`) and the
    weights.  It does not depend on other samples, beyond the rounding of the network.

    Args:
        network: score network on `device`, in evaluation mode or not.
        tasks: in any order and of any sizes.
        settings: by default `SamplingSettings()`.
        device: by default that of the network's parameters.
        progress: called after every step.
        first_sample: index of the first sample, for all tasks or for each; to draw further samples, start where
            the last call ended.
        samples: number of samples, for all tasks or for each; overrides `settings.samples`, may be 0.
        start: fractional coordinates of each task's samples, (samples, n, 3), that are noised to the largest noise
            level and denoised from there, instead of uniform noise; `settings.sigma_max` limits how far they move.

    Returns:
        One `SampleSet` per task, in the order of `tasks`.

    Raises:
        InputError: settings that the network was not trained for, or a sample that does not fit in the edge budget or
            in memory.
        InpaintHpcError: the network returned values that are not finite.
    """
    settings = settings or SamplingSettings()
    device = network_device(network, device)
    counts = _per_task(settings.samples if samples is None else samples, tasks, "samples")
    first_indices = _per_task(first_sample, tasks, "first_sample")
    settings.levels(network.sigma_max, network.sigma_min)  # refuses what the network was not trained for
    _require_known_elements(network, tasks)
    if settings.strategy == "sequential":
        if start is not None:
            raise InputError("the sequential strategy places guests itself: it takes no starting positions")
        return sample_sequentially(network, tasks, settings, device, progress, first_indices, counts)
    return sample_jointly(network, tasks, settings, device, progress, first_indices, counts, start)


def _per_task(value: int | Sequence[int], tasks: Sequence[Task], name: str) -> list[int]:
    values = [int(v) for v in value] if isinstance(value, Sequence | np.ndarray) else [int(value)] * len(tasks)
    if len(values) != len(tasks):
        raise InputError(f"{name} has {len(values)} entries for {len(tasks)} tasks")
    if any(v < 0 for v in values):
        raise InputError(f"{name} must not be negative")
    return values


def _require_known_elements(network: Any, tasks: Sequence[Task]) -> None:
    limit = getattr(network, "max_atomic_number", MAX_ATOMIC_NUMBER)
    for task in tasks:
        largest = max((*task.guests, *task.host.numbers.tolist()))
        if largest > limit:
            raise InputError(f"{task.name}: the network knows elements up to {limit}, not {largest}")
