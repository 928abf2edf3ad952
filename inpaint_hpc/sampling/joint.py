"""Joint samples: all guests of a sample are denoised together, in batches of many samples of many tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystals
from inpaint_hpc.errors import InpaintHpcError, InputError

from .batching import Batch, Work, default_edge_budget, is_out_of_memory, pack, release_memory, require_budget
from .empty_space import starting_positions
from .settings import SamplingSettings
from .strategies import STRATEGY_CLASSES, Network, PathNoise, SampleBatch, StepNoise, travel_back
from .tasks import SampleSet, Task

DEFAULT_CUTOFF = 5.0  # A, to estimate edges of networks that do not state their cutoff

Progress = Callable[[int, int], None]
"""(done, total), counted in samples times steps; called after every step.  Steps back when out of memory."""


def sample_jointly(
    network: Network,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    device: torch.device,
    progress: Progress | None,
    first_indices: Sequence[int],
    counts: Sequence[int],
    initial: Sequence[np.ndarray] | None = None,
) -> list[SampleSet]:
    """As `sample`, with the guests of a sample denoised together by the strategy of the settings.

    Args:
        network, tasks, settings, device, progress: as for `sample`.
        first_indices, counts: index of the first sample of each task, and how many samples.
        initial: fractional coordinates of each task's samples, (samples, n, 3), to begin from instead of uniform noise.

    Raises:
        InputError, InpaintHpcError: as `sample`.
    """
    dtype = network_dtype(network)
    levels = [float(level) for level in settings.levels(network.sigma_max, network.sigma_min)]
    if initial is not None:
        initial = _initial_positions(initial, tasks, counts)

    strategy = STRATEGY_CLASSES[settings.strategy]
    cutoff = float(getattr(network, "cutoff", DEFAULT_CUTOFF))
    guest_cutoff = float(getattr(network, "guest_cutoff", cutoff))
    work = [
        Work(row, task.name, tuple(range(first, first + count)), *strategy.edges(task, cutoff, guest_cutoff))
        for row, (task, first, count) in enumerate(zip(tasks, first_indices, counts, strict=True))
        if count
    ]
    if settings.edge_budget is not None:
        require_budget(work, settings.edge_budget)
    report = _Counter(progress, sum(counts) * len(settings.path()))
    results = [np.zeros((count, len(task.guests), 3)) for task, count in zip(tasks, counts, strict=True)]

    def run(batch: Batch, encoding: Any) -> np.ndarray:
        chosen = [tasks[row] for row in batch.tasks]
        tensors = SampleBatch(chosen, [part.indices for part in batch.parts], settings.seed, device)
        if initial is None:
            positions = starting_positions(tensors)
        else:
            rows = [initial[part.task][np.array(part.indices) - first_indices[part.task]] for part in batch.parts]
            positions = tensors.noised(np.concatenate([row.reshape(-1, 3) for row in rows]), levels[0])
        return _denoise(strategy(network, encoding, tensors, dtype), tensors, positions, settings, levels, report)

    def encode(batch: Batch) -> Any:
        hosts = strategy.hosts([tasks[row] for row in batch.tasks])
        return network.encode(Crystals.from_list(hosts, device, dtype))

    with torch.inference_mode(), _evaluating(network):
        for batch, frac in _run_all(work, settings.edge_budget or default_edge_budget(device), encode, run, device):
            ends = np.cumsum([len(part.indices) * len(tasks[part.task].guests) for part in batch.parts])
            for part, rows in zip(batch.parts, np.split(frac, ends[:-1]), strict=True):
                place = np.array(part.indices) - first_indices[part.task]
                results[part.task][place] = rows.reshape(len(place), -1, 3)
    nfe = settings.nfe
    return [
        SampleSet(task, coords, np.arange(first, first + len(coords)), nfe)
        for task, coords, first in zip(tasks, results, first_indices, strict=True)
    ]


def _run_all(
    work: Sequence[Work],
    budget: float,
    encode: Callable[[Batch], Any],
    run: Callable[[Batch, Any], np.ndarray],
    device: torch.device,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Run all work in batches; running out of memory halves the budget and repacks the rest."""
    queue = deque(pack(work, budget))
    encoding, encoded = None, None
    while queue:
        batch = queue[0]
        try:
            if encoded != batch.tasks:
                encoding = encoded = None
                encoding = encode(batch)
                encoded = batch.tasks
            result = run(batch, encoding)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            result = None
        # Outside the except clause, where the traceback would keep the tensors of the failed batch alive.
        if result is not None:
            yield queue.popleft(), result
            continue
        encoding = encoded = None
        release_memory(device)
        if len(batch) == 1:
            raise InputError(
                f"{batch.parts[0].name}: one sample (about {batch.edges:.0f} edges) does not fit in the memory of "
                f"{device}: take a smaller cell or a device with more memory"
            )
        budget = min(budget, batch.edges) / 2.0
        queue = deque(pack([part for waiting in queue for part in waiting.parts], budget))


def _denoise(
    strategy, batch: SampleBatch, positions: torch.Tensor, settings: SamplingSettings, levels: list[float], report
) -> np.ndarray:
    """Fractional coordinates of the guests of a batch, float64 (G, 3): the loop over noise levels, from `positions`
    (G, 3) in A at the first level."""
    sampler = settings.make_sampler()
    path = settings.path()
    ahead = PathNoise(batch, len(path) - 1)
    finished = 0
    try:
        for step, (here, there) in enumerate(pairwise(path), start=1):
            noise = StepNoise(ahead, step)
            if there < here:
                positions = travel_back(positions, levels[here], levels[there], noise)
            else:
                score = partial(_score, strategy, noise)
                positions = sampler.step(positions, levels[here], levels[there], score, noise)
            finished += len(batch)
            report.add(len(batch))
        positions = strategy.denoised(positions, levels[path[-1]], StepNoise(ahead, len(path)))
    except (RuntimeError, MemoryError):
        report.add(-finished)  # out of memory: these steps will be done again
        raise
    report.add(len(batch))
    if not torch.isfinite(positions).all():
        bad = batch.sample[~torch.isfinite(positions).all(1)][0]
        name = batch.tasks[int(batch.host[bad])].name
        raise InpaintHpcError(f"{name}: the network returned scores that are not finite; are the weights intact?")
    return batch.fractional(positions, batch.sample).cpu().numpy()


def _score(strategy, noise: StepNoise, positions: torch.Tensor, sigma: float) -> torch.Tensor:
    return strategy.score(positions, sigma, noise)


def _initial_positions(initial: Sequence[np.ndarray], tasks: Sequence[Task], counts: Sequence[int]) -> list[np.ndarray]:
    if len(initial) != len(tasks):
        raise InputError(f"starting positions for {len(initial)} of {len(tasks)} tasks")
    found = []
    for task, count, positions in zip(tasks, counts, initial, strict=True):
        positions = np.asarray(positions, dtype=np.float64)
        if positions.shape != (count, len(task.guests), 3) or not np.isfinite(positions).all():
            raise InputError(
                f"{task.name}: starting positions must be {count} x {len(task.guests)} x 3 finite numbers, "
                f"not an array of shape {positions.shape}"
            )
        found.append(positions)
    return found


class _Counter:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


@contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    """Put a module in evaluation mode temporarily."""
    training = getattr(network, "training", False)
    if training:
        network.eval()
    try:
        yield
    finally:
        if training:
            network.train()


def network_device(network: Any, device: torch.device | str | None) -> torch.device:
    """`device`, by default that of the network's parameters."""
    if device is None:
        parameters = network.parameters() if hasattr(network, "parameters") else iter(())
        device = next((p.device for p in parameters), torch.device("cpu"))
    return torch.device(device)


def network_dtype(network: Any) -> torch.dtype:
    """That of the network's parameters; float32 without any."""
    parameters = network.parameters() if hasattr(network, "parameters") else iter(())
    return getattr(network, "dtype", None) or next((p.dtype for p in parameters), torch.float32)
