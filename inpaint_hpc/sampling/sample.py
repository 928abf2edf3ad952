"""Draw samples: tasks in, guest positions out.

Example:
    settings = SamplingSettings(samples=16, steps=40)
    for result in sample(network, [Task(host, {"Li": 1})], settings):
        structures = [crystal.to_structure() for crystal in result.crystals()]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystals
from inpaint_hpc.crystals.checking import MAX_ATOMIC_NUMBER
from inpaint_hpc.errors import InpaintHpcError, InputError

from .batching import Batch, Work, default_edge_budget, is_out_of_memory, pack, release_memory, require_budget
from .settings import SamplingSettings, nfe
from .strategies import STRATEGY_CLASSES, Network, SampleBatch, StepNoise, travel_back
from .tasks import SampleSet, Task

DEFAULT_CUTOFF = 5.0  # A, to estimate edges of networks that do not tell theirs

Progress = Callable[[int, int], None]
"""(done, total), counted in samples times steps; called after every step.  Goes back when a batch ran out of memory."""

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
    weights.  Which other samples are drawn with it does not matter beyond the rounding of the network.

    Args:
        network: on `device`, in evaluation mode or not.
        tasks: in any order and of any sizes.
        settings: by default `SamplingSettings()`.
        device: by default that of the network's parameters.
        progress: called after every step.
        first_sample: index of the first sample, for all tasks or for each; to draw more samples than before, start
            where the last call ended.
        samples: number of samples, for all tasks or for each; overrides `settings.samples`, may be 0.
        start: fractional coordinates of each task's samples, (samples, n, 3), that are noised to the largest noise
            level and denoised from there, instead of uniform noise; `settings.sigma_max` says how far they may move.

    Returns:
        One `SampleSet` per task, in the order of `tasks`.

    Raises:
        InputError: settings that the network was not trained for, or a sample that does not fit in the edge budget or
            in memory.
        InpaintHpcError: the network returned something that is not a number.
    """
    settings = settings or SamplingSettings()
    device, dtype = _device(network, device), _dtype(network)
    levels = [float(level) for level in settings.levels(network.sigma_max, network.sigma_min)]
    counts = _per_task(settings.samples if samples is None else samples, tasks, "samples")
    starts = _per_task(first_sample, tasks, "first_sample")
    _require_known_elements(network, tasks)
    if settings.strategy == "sequential":
        from .sequential import sample_sequentially

        if start is not None:
            raise InputError("the sequential strategy places guests itself: it takes no starting positions")
        return sample_sequentially(network, tasks, settings, device, progress, starts, counts)
    if start is not None:
        start = _start_positions(start, tasks, counts)

    strategy = STRATEGY_CLASSES[settings.strategy]
    cutoff = float(getattr(network, "cutoff", DEFAULT_CUTOFF))
    guest_cutoff = float(getattr(network, "guest_cutoff", cutoff))
    work = [
        Work(row, task.name, tuple(range(start, start + count)), *strategy.edges(task, cutoff, guest_cutoff))
        for row, (task, start, count) in enumerate(zip(tasks, starts, counts, strict=True))
        if count
    ]
    if settings.edge_budget is not None:
        require_budget(work, settings.edge_budget)
    report = _Counter(progress, sum(counts) * len(settings.path()))
    results = [np.zeros((count, len(task.guests), 3)) for task, count in zip(tasks, counts, strict=True)]

    def run(batch: Batch, encoding: Any) -> np.ndarray:
        chosen = [tasks[row] for row in batch.tasks]
        tensors = SampleBatch(chosen, [part.indices for part in batch.parts], settings.seed, device)
        first = tensors.uniform_positions()
        if start is not None:
            rows = [start[part.task][np.array(part.indices) - starts[part.task]] for part in batch.parts]
            first = tensors.noised(np.concatenate([row.reshape(-1, 3) for row in rows]), levels[0])
        return _denoise(strategy(network, encoding, tensors, dtype), tensors, first, settings, levels, report)

    def encode(batch: Batch) -> Any:
        hosts = strategy.hosts([tasks[row] for row in batch.tasks])
        return network.encode(Crystals.from_list(hosts, device, dtype))

    with torch.inference_mode(), _evaluating(network):
        for batch, frac in _run_all(work, settings.edge_budget or default_edge_budget(device), encode, run, device):
            ends = np.cumsum([len(part.indices) * len(tasks[part.task].guests) for part in batch.parts])
            for part, rows in zip(batch.parts, np.split(frac, ends[:-1]), strict=True):
                place = np.array(part.indices) - starts[part.task]
                results[part.task][place] = rows.reshape(len(place), -1, 3)
    return [
        SampleSet(task, coords, np.arange(start, start + len(coords)), settings.nfe)
        for task, coords, start in zip(tasks, results, starts, strict=True)
    ]


def _run_all(
    work: Sequence[Work],
    budget: float,
    encode: Callable[[Batch], Any],
    run: Callable[[Batch, Any], np.ndarray],
    device: torch.device,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Run all work in batches; out of memory halves the budget and packs what is left anew."""
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
        # Outside of the except clause: there the traceback would keep the tensors of the failed batch alive.
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
    finished = 0
    try:
        for step, (here, there) in enumerate(pairwise(path), start=1):
            noise = StepNoise(batch, step)
            if there < here:
                positions = travel_back(positions, levels[here], levels[there], noise)
            else:
                positions = sampler.step(
                    positions, levels[here], levels[there], lambda x, sigma, z=noise: strategy.score(x, sigma, z), noise
                )
            finished += len(batch)
            report.add(len(batch))
        positions = strategy.denoised(positions, levels[path[-1]], StepNoise(batch, len(path)))
    except (RuntimeError, MemoryError):
        report.add(-finished)  # out of memory: these steps will be done again
        raise
    report.add(len(batch))
    if not torch.isfinite(positions).all():
        bad = batch.sample[~torch.isfinite(positions).all(1)][0]
        name = batch.tasks[int(batch.host[bad])].name
        raise InpaintHpcError(f"{name}: the network returned scores that are not finite; are the weights intact?")
    return batch.fractional(positions, batch.sample).cpu().numpy()


def _start_positions(start: Sequence[np.ndarray], tasks: Sequence[Task], counts: Sequence[int]) -> list[np.ndarray]:
    if len(start) != len(tasks):
        raise InputError(f"starting positions for {len(start)} of {len(tasks)} tasks")
    found = []
    for task, count, positions in zip(tasks, counts, start, strict=True):
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
    """Put a module in evaluation mode for a while."""
    training = getattr(network, "training", False)
    if training:
        network.eval()
    try:
        yield
    finally:
        if training:
            network.train()


def _device(network: Any, device: torch.device | str | None) -> torch.device:
    if device is None:
        parameters = network.parameters() if hasattr(network, "parameters") else iter(())
        device = next((p.device for p in parameters), torch.device("cpu"))
    return torch.device(device)


def _dtype(network: Any) -> torch.dtype:
    parameters = network.parameters() if hasattr(network, "parameters") else iter(())
    return getattr(network, "dtype", None) or next((p.dtype for p in parameters), torch.float32)


def _per_task(value: int | Sequence[int], tasks: Sequence[Task], name: str) -> list[int]:
    values = [int(value)] * len(tasks) if np.ndim(value) == 0 else [int(v) for v in value]
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
