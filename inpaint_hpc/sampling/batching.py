"""Packing samples into batches by the number of graph edges, which determines memory and time.

Hosts have 3 to 2,000 atoms: batches of a fixed number of samples either waste the machine or overflow it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import memory_for_batches

# Peak memory per edge: 4.5 kB measured for a network of default size on a CPU (20k to 200k edges), and a third on top.
BYTES_PER_EDGE = 6_000
# Fastest on a CPU core: larger batches exceed its caches (21 microseconds per edge at 20k edges, 28 at 80k).
CPU_EDGE_BUDGET = 20_000


@dataclass(frozen=True)
class Work:
    """Samples of one task that are still to be drawn.

    Attributes:
        task: row of the task.
        name: of the task, for messages.
        indices: indices of the samples.
        host_edges: edges to encode the host, once per batch of new hosts.
        sample_edges: edges of one sample in one network evaluation.
    """

    task: int
    name: str
    indices: tuple[int, ...]
    host_edges: float
    sample_edges: float


@dataclass(frozen=True)
class Batch:
    """Samples that go through the network together."""

    parts: tuple[Work, ...]

    def __len__(self) -> int:
        return sum(len(part.indices) for part in self.parts)

    @property
    def tasks(self) -> tuple[int, ...]:
        """Rows of the tasks; batches with equal rows share their encoding."""
        return tuple(part.task for part in self.parts)

    @property
    def edges(self) -> float:
        """Edges of the larger of the two graphs that are never in memory together: of hosts, and of guests."""
        hosts = sum(part.host_edges for part in self.parts)
        return max(hosts, sum(part.sample_edges * len(part.indices) for part in self.parts))


def edges_within(receivers: int, senders: int, volume: float, cutoff: float) -> float:
    """Expected number of edges between atoms spread evenly over `volume` (A^3), within `cutoff` (A)."""
    return receivers * senders / volume * (4.0 / 3.0 * math.pi * cutoff**3)


def default_edge_budget(device: torch.device) -> int:
    """Edges that fit in 60 % of the free memory of a GPU; a constant for CPUs."""
    if device.type != "cuda":
        return CPU_EDGE_BUDGET
    return max(1, memory_for_batches(device) // BYTES_PER_EDGE)


def require_budget(work: Iterable[Work], edge_budget: int) -> None:
    """Refuse a budget that a single sample exceeds.

    Raises:
        InputError: naming the budget that is needed.
    """
    for item in work:
        needed = math.ceil(max(item.host_edges, item.sample_edges))
        if needed > edge_budget:
            memory = needed * BYTES_PER_EDGE / 2**30
            raise InputError(
                f"{item.name}: one sample needs an edge budget of {needed}, the budget is {edge_budget}: raise "
                f"edge_budget to {needed} (about {memory:.1f} GiB of memory) or take a smaller cell"
            )


def pack(work: Iterable[Work], edge_budget: float) -> list[Batch]:
    """Pack samples into batches of at most `edge_budget` edges; a batch of one sample may exceed it.

    `work` may hold a task in parts left over from earlier batches; they are joined again.
    A task that needs several batches gets its own, of almost equal size, so that its host is encoded once.
    Other tasks stay whole and share batches, the largest first.
    """
    tasks: dict[int, Work] = {}
    for item in work:
        known = tasks.get(item.task)
        tasks[item.task] = replace(item, indices=known.indices + item.indices) if known else item
    batches: list[Batch] = []
    whole: list[Work] = []
    for item in sorted(tasks.values(), key=lambda item: -max(item.sample_edges, item.host_edges)):
        fits = max(1, int(edge_budget / max(item.sample_edges, 1e-9)))
        if len(item.indices) <= fits:
            whole.append(item)
            continue
        chunks = np.array_split(np.array(item.indices), math.ceil(len(item.indices) / fits))
        batches += [Batch((replace(item, indices=tuple(chunk.tolist())),)) for chunk in chunks]
    shared: tuple[Work, ...] = ()
    for item in whole:
        if shared and Batch((*shared, item)).edges > edge_budget:
            batches.append(Batch(shared))
            shared = ()
        shared += (item,)
    return [*batches, Batch(shared)] if shared else batches


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the host ran out of memory; torch reports the latter as a plain RuntimeError."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release_memory(device: torch.device) -> None:
    """Release cached blocks, so that a smaller batch does not fail on fragments of a larger one."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
