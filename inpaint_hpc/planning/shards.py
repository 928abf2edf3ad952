"""How a campaign is cut into shards: what a worker takes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.campaign.cost import CPU_SECONDS
from inpaint_hpc.campaign.resources import units_at_once

if TYPE_CHECKING:
    from inpaint_hpc.campaign.resources import Resources

# A GPU in full batches, network of default size; one unit of cost, in s.
GPU_SECONDS = 2.5e-8
# A GPU needs large batches, and seconds of it are little to lose.
GPU_SHARD_SECONDS, GPU_TASKS, GPU_SAMPLES = 10.0, 2048, 16_384
CPU_SHARD_MINUTES, CPU_TASKS, CPU_SHARDS = 5.0, 512, 16


@dataclass(frozen=True)
class ShardLimits:
    """What a shard may have.

    Attributes:
        cost: estimated cost, see `campaign/cost.py`.
        tasks, samples: most of these.
        at_least: shards of a campaign, so that all workers have as many as they run at once.
    """

    cost: float
    tasks: int
    samples: float
    at_least: int


def shard_limits(resources: Resources, gpu_workers: int = 0) -> ShardLimits:
    """Limits that `resources` state, or by default those of the workers.

    Args:
        resources: `shard_minutes`, `shard_tasks` and `min_shards` decide where they are set; `analysis` and
            `units_at_once` say how many shards a worker on a GPU has in flight.
        gpu_workers: workers on GPUs that the campaign is created for; 0 for CPUs.
    """
    stated = None if resources.shard_minutes is None else resources.shard_minutes * 60.0 / CPU_SECONDS
    if gpu_workers:
        cost = stated or GPU_SHARD_SECONDS / GPU_SECONDS
        # What each has in flight, and one more, so that a worker that is done early takes from the others.
        analysis = 1 if resources.analysis == "auto" else int(resources.analysis)
        at_least = resources.min_shards or gpu_workers * (1 + units_at_once(resources.units_at_once, "cuda", analysis))
        return ShardLimits(cost, resources.shard_tasks or GPU_TASKS, GPU_SAMPLES, at_least)
    cost = stated or CPU_SHARD_MINUTES * 60.0 / CPU_SECONDS
    return ShardLimits(cost, resources.shard_tasks or CPU_TASKS, np.inf, resources.min_shards or CPU_SHARDS)


def cut_shards(costs: np.ndarray, samples: np.ndarray, limits: ShardLimits) -> np.ndarray:
    """First task of each shard and, last, the number of tasks, int64 (shards + 1,).

    Shards are as equal in cost as whole tasks allow.

    Args:
        costs, samples: of the tasks in order, (N,).
        limits: of `shard_limits`.
    """
    total = float(costs.sum())
    n_shards = max(1, round(total / min(limits.cost, total / limits.at_least)))
    middles = np.cumsum(costs) - 0.5 * costs
    shard = np.minimum((middles / total * n_shards).astype(np.int64), n_shards - 1)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(shard)) + 1, [len(costs)]])
    drawn = np.concatenate([[0], np.cumsum(samples)])
    cuts = [starts[:1]]
    for start, stop in pairwise(starts.tolist()):
        by_samples = int(np.ceil((drawn[stop] - drawn[start]) / limits.samples))
        parts = min(max(-(-(stop - start) // limits.tasks), by_samples), stop - start)
        cuts.append(start + np.arange(1, parts + 1) * (stop - start) // parts)
    return np.concatenate(cuts)
