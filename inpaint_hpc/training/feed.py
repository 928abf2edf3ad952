"""Batches drawn ahead of the training loop by worker processes.

A batch is a function of its step, so it does not matter which worker draws it: any number of workers, including none,
and a feed started at any step give the same bits.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from inpaint_hpc.crystals.packed import ElectrodePair, PackedDataset
from inpaint_hpc.environment import available_cores

from .batches import BatchSettings, DrawnBatch, draw_batch, training_indices
from .masks import MaskMixture

T = TypeVar("T")
# Drawing a batch is fast; more processes than this only use memory.
_MOST_WORKERS = 14


@dataclass(frozen=True)
class Steps(Dataset):
    """The batch of every step of one process.

    Attributes:
        data, pairs, settings, masks: see `draw_batch`.
        seed: of the run.
        rank, world_size: index of this process, and number of processes.
    """

    data: PackedDataset
    pairs: list[ElectrodePair]
    settings: BatchSettings
    masks: MaskMixture
    seed: int
    rank: int = 0
    world_size: int = 1

    def __getitem__(self, step: int) -> DrawnBatch:
        """The batch of a step."""
        rows = training_indices(len(self.data), step, self.settings.batch_size, self.seed, self.rank, self.world_size)
        return draw_batch(self.data, rows, self.settings, self.masks, [self.seed, 2, step, self.rank], self.pairs)


class _From(Sampler):
    """Endless steps from a first one on: a single epoch, so that workers are started once."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first)


def feed(steps: Steps, first: int, workers: int, pin_memory: bool) -> Iterator[DrawnBatch]:
    """Batches of step `first`, `first + 1` ... in order; dropping the iterator ends its workers.

    Args:
        steps: what to draw.
        first: the step that the first batch is of.
        workers: number of processes; 0 draws in this process on demand.
        pin_memory: batches in page-locked memory, for a GPU.
    """
    ahead: dict[str, Any] = {}
    if workers:
        # Forked, so that the crystals are shared, not copied.  That is safe after CUDA has begun in this process
        # because a worker never touches it: it draws numpy arrays and CPU tensors, and pinning happens here.
        # torch gives each worker one thread, and so never enters an OpenMP pool that a fork has not taken along.
        ahead = {"multiprocessing_context": "fork", "prefetch_factor": 4, "persistent_workers": True}
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=_From(first),
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # the loader draws a seed: not from the generator of the run
        **ahead,
    )
    return iter(loader)


def default_workers(device: torch.device) -> int:
    """None on a CPU, where the network needs the cores; else all but one core, shared by the processes of a node."""
    if device.type == "cpu":
        return 0
    cores = available_cores()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(cores // processes - 1, _MOST_WORKERS))


def _as_it_is(drawn: T) -> T:
    return drawn


def _leave_signals_to_the_parent(worker: int) -> None:
    """A signal to the whole process group asks the parent for a last checkpoint; workers run until it ends them."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    # SIGTERM is how multiprocessing ends a child, so only one from elsewhere is ignored, which a handler in Python
    # cannot tell: it is blocked in every thread and waited for here.
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
