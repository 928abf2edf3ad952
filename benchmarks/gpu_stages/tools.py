"""Shared by the stages of the GPU benchmark: timing, memory, kernels, and test crystals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from feed_parts.card import Card

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset, hash_order
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.tasks import Task

IONS = (3, 11, 12, 19, 20, 30)  # Li, Na, Mg, K, Ca, Zn


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        device: 'cuda' or 'cpu'.
        data: folder with wbm_dev.h5 and electrodes files.
        train: packed file with a split.
        tiny: use the smallest sizes for everything.
        save: writes the results so far; to be called after each part of a long stage.
        until: `time.monotonic()` after which a stage should start no more parts.
        end: the same for the whole run.
        card: figures of the device, where they are known.
    """

    device: str
    data: Path
    train: Path
    tiny: bool = False
    save: Callable[[], None] = lambda: None
    until: float = math.inf
    end: float = math.inf
    card: Card | None = None

    @property
    def cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def left(self) -> float:
        """Remaining seconds of the stage."""
        return self.until - time.monotonic()

    def at_most(self, seconds: float) -> float:
        """Time limit of a process in s: the given one, or the remaining time of the whole run."""
        return max(20.0, min(seconds, self.end - time.monotonic()))

    @cached_property
    def wbm(self) -> PackedDataset:
        return PackedDataset(self.data / "wbm_dev.h5")

    @cached_property
    def crystals(self) -> PackedDataset:
        """The training part: hosts of any size."""
        return PackedDataset(self.train, "train")

    @cached_property
    def copy_bandwidth(self) -> float:
        return copy_bandwidth(self.device, 2**26 if self.tiny else 2**30)

    def synchronize(self) -> None:
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def timed(self, function: Callable[[], Any]) -> tuple[Any, float]:
        """The result, and the wall time until the device had it."""
        self.synchronize()
        started = time.perf_counter()
        result = function()
        self.synchronize()
        return result, time.perf_counter() - started

    def peak_memory(self, function: Callable[[], Any]) -> tuple[Any, float, float | None]:
        """As `timed`, and the largest memory in GiB that tensors had meanwhile, None on a CPU."""
        import torch

        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        result, seconds = self.timed(function)
        return result, seconds, torch.cuda.max_memory_allocated() / 2**30 if self.cuda else None


def copy_bandwidth(device: str, size: int, repeats: int = 10) -> float:
    """GB/s that a copy of `size` bytes on the device moves; every byte is read and written."""
    import torch

    source = torch.zeros(size // 4, device=device)
    target = torch.empty_like(source)
    seconds = device_seconds(lambda: target.copy_(source), device, repeats)
    return 2 * source.nbytes / seconds / 1e9


def matmul_tflops(device: str, n: int, tf32: bool, repeats: int = 10) -> float:
    """TFLOP/s of a float32 product of two n x n matrices."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        a = torch.randn(n, n, device=device)
        return 2 * n**3 / device_seconds(lambda: a @ a, device, repeats) / 1e12
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def device_seconds(function: Callable[[], Any], device: str, repeats: int) -> float:
    """Seconds of one call, by the device's own events where it is a GPU; the first calls do not count."""
    import torch

    for _ in range(2):
        function()
    if device == "cpu":
        started = time.perf_counter()
        for _ in range(repeats):
            function()
        return (time.perf_counter() - started) / repeats
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        function()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / repeats


def kernels(function: Callable[[], Any], device: str, top: int = 12) -> dict[str, Any]:
    """Kernels that a call launches on a GPU, and where its time goes; on a CPU the operators of torch instead.

    Returns:
        launches: their number.  calls: of CUDA's functions that launch them, which should be as many.  copies: memory
            copies and fills, which are not launches.  operators: of torch.  device_ms: time of all kernels.
        top: name, calls, ms and share of those that take the most.
    """
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    cuda = device != "cpu"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with profile(activities=activities) as profiler:
        function()
        if cuda:
            torch.cuda.synchronize()
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    averages = profiler.key_averages()
    calls = sum(row.count for row in averages if row.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    operators = sum(row.count for row in averages if row.key.startswith("aten::"))
    rows = [row for row in averages if row.device_type == kind]
    rows = [row for row in rows if not getattr(row, "is_user_annotation", False)]
    copies = sum(row.count for row in rows if row.key.startswith(("Memcpy", "Memset")))
    times = [(row.self_device_time_total if cuda else row.self_cpu_time_total) / 1e3 for row in rows]
    total = sum(times)
    order = np.argsort(times)[::-1][:top]
    table = [
        {"name": rows[k].key[:90], "calls": rows[k].count, "ms": times[k], "share": times[k] / max(total, 1e-9)}
        for k in order
    ]
    launches = sum(row.count for row in rows) - copies
    counts = {"launches": launches, "calls": calls, "copies": copies, "operators": operators}
    return counts | {"device_ms": total, "top": table}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median and tail of a distribution."""
    if not len(values):
        return {}
    names = {"median": 0.5, "q90": 0.9, "q99": 0.99, "largest": 1.0}
    return {name: float(np.quantile(values, q)) for name, q in names.items()}


def shuffled_rows(dataset: PackedDataset) -> list[int]:
    """Rows in the order of the hashes of their names."""
    return hash_order(range(len(dataset)), dataset.ids.__getitem__)


def emptied_tasks(dataset: PackedDataset, n: int, fewest: int, most: int, guests: int | None = None) -> list[Task]:
    """Tasks that remove one ion from a crystal and place as many again.

    Args:
        dataset: crystals, gone through in the order of their hashes.
        n: maximum number of tasks.
        fewest, most: atoms of the host.
        guests: only crystals with this many atoms of the ion; None takes any number.  If there are too few, this many
            Li are added to unchanged crystals.
    """
    of_ion = np.stack([np.add.reduceat(dataset.numbers == ion, dataset.offsets[:-1]) for ion in IONS])
    hosts = dataset.n_atoms - of_ion
    fit = (hosts >= max(1, fewest)) & (hosts <= most) & ((of_ion == guests) if guests else (of_ion > 0))
    order = shuffled_rows(dataset)
    found: list[Task] = []
    for row in (row for row in order if fit[:, row].any()):
        if len(found) == n:
            return found
        which = int(np.argmax(fit[:, row]))
        found.append(Task(dataset[row].without(IONS[which]), {IONS[which]: int(of_ion[which, row])}))
    for row in (row for row in order if guests and fewest <= dataset.n_atoms[row] <= most):
        if len(found) == n:
            break
        with suppress(InputError):  # no room
            found.append(Task(dataset[row], {"Li": guests}))
    return found


def crystals_of(dataset: PackedDataset, n: int, fewest: int, most: int) -> list[Crystal]:
    """Crystals of a given size in the order of the hashes of their names, repeated if there are not enough."""
    fit = (dataset.n_atoms >= fewest) & (dataset.n_atoms <= most)
    chosen = [dataset[row] for row in [row for row in shuffled_rows(dataset) if fit[row]][:n]]
    if not chosen:
        raise InputError(f"{dataset.path}: no crystal of {fewest} to {most} atoms")
    return [chosen[k % len(chosen)] for k in range(n)]


def sound_crystals(bench: Bench, n: int, fewest: int, most: int, shift: float = 0.05) -> list[Crystal]:
    """Crystals with displaced atoms that CHGNet can evaluate, with no force above 10 eV/A."""
    from inpaint_hpc.scoring.chgnet.batch import evaluate

    crystals = displaced(crystals_of(bench.crystals, n + n // 4 + 4, fewest, most), shift)
    result = evaluate(crystals, device=bench.device, what="ef")
    forces = [float(result.forces[result.atoms(k)].norm(dim=1).max()) for k in range(len(crystals))]
    good = [crystal for crystal, force in zip(crystals, forces, strict=True) if force < 10.0]
    return [good[k % len(good)] for k in range(n)]


def displaced(crystals: Sequence[Crystal], shift: float, seed: int = 0) -> list[Crystal]:
    """The crystals with every coordinate moved by normal noise of `shift` A."""
    rng = np.random.default_rng(seed)
    return [
        replace(c, frac_coords=c.frac_coords + rng.normal(0, shift, (len(c), 3)) @ np.linalg.inv(c.lattice))
        for c in crystals
    ]
