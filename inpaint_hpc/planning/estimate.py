"""Estimates what a campaign will cost (tasks, hours, disk, files) from a short calibration."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.cost import CPU_SECONDS
from inpaint_hpc.campaign.resources import analysis_processes, machine_memory, units_at_once, workers_per_gpu
from inpaint_hpc.campaign.run_directory import SHARDS_PER_FOLDER, RunDirectory
from inpaint_hpc.campaign.task_tables import CampaignTask
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.environment import available_cores
from inpaint_hpc.gpus import gpus_here

from .create_run import build

# Tasks that are measured.
FEWEST, MOST = 8, 256
LOG_BYTES_PER_TASK = 450
BYTES_PER_RESULT_FILE = 28_000


@dataclass(frozen=True)
class Calibration:
    """Tasks that were run to measure the speed of a machine.

    Attributes:
        tasks: number of tasks.
        samples: possible samples obtained.
        cost: their estimated cost.
        seconds: wall time.
        failed: tasks that failed.
    """

    tasks: int
    samples: int
    cost: float
    seconds: float
    failed: int


@dataclass(frozen=True)
class Plan:
    """What a campaign will cost.

    Attributes:
        tasks, shards, hosts, samples: total numbers.
        duplicates: tasks that were requested more than once.
        left_out: tasks and hosts that cannot be run, by reason.
        cost: estimated cost, see `cost.py`.
        device: device that was measured, 'cpu' or 'cuda'.
        threads: torch threads per worker.
        analysis: processes for the analysis beside each worker.
        units_at_once: units that each worker has in flight; the hours are those of one.
        core_hours: CPU hours; on a GPU, None.
        gpu_hours: GPU hours; on a CPU, None.
        workers: number of workers on this machine.
        wall_hours: wall time with these workers.
        shard_seconds: time of one worker for a shard of average cost.
        disk_bytes: run directory, results, logs and archive.
        inodes: files and folders.
        calibration: the measurement behind the hours; None if they assume an average CPU core.
    """

    tasks: int
    shards: int
    hosts: int
    samples: int
    duplicates: int
    left_out: dict[str, int]
    cost: float
    device: str
    threads: int
    analysis: int
    units_at_once: int
    core_hours: float | None
    gpu_hours: float | None
    workers: int
    wall_hours: float
    shard_seconds: float
    disk_bytes: int
    inodes: int
    calibration: Calibration | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def plan_campaign(
    config: CampaignConfig,
    device: str = "cpu",
    seconds: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Create the campaign in a temporary folder, run a few of its tasks, and estimate its cost.

    Args:
        config: the campaign.
        device: torch device of the calibration.
        seconds: approximate time limit of the calibration; 0 skips it.
        progress: called with (hosts read, tasks so far).

    Raises:
        InputError: as `create_run`.
        OSError: the temporary folder cannot be written.
    """
    threads = config.resources.threads or 1
    with tempfile.TemporaryDirectory(prefix="inpaint-hpc-plan-") as folder:
        workers = _workers(config, device != "cpu", threads)
        analysis = analysis_processes(config.resources.analysis, device, available_cores(), workers)
        info = build(config, Path(folder), config.output, progress, workers if device != "cpu" else 0)
        run = RunDirectory(folder)
        frozen = sum(file.stat().st_size for file in run.path.iterdir())
        measured, records = _calibrate(run, device, threads, analysis, seconds) if seconds > 0 else (None, [])
        bytes_per_file, bytes_per_sample = _result_sizes(run.path, records)
    rate = measured.seconds / measured.cost if measured else CPU_SECONDS / threads
    worker_hours = info["cost"] * rate / 3600.0
    counts = info["counts"]
    on_gpu = device != "cpu"
    results = counts["samples"] * bytes_per_sample
    return Plan(
        tasks=counts["tasks"],
        shards=counts["shards"],
        hosts=counts["hosts"],
        samples=counts["samples"],
        duplicates=counts["duplicates"],
        left_out=counts["left_out"],
        cost=info["cost"],
        device=device,
        threads=threads,
        analysis=analysis,
        units_at_once=units_at_once(config.resources.units_at_once, device, analysis),
        core_hours=None if on_gpu else worker_hours * threads,
        gpu_hours=worker_hours if on_gpu else None,
        workers=workers,
        wall_hours=worker_hours / min(workers, counts["shards"]),
        shard_seconds=worker_hours * 3600.0 / counts["shards"],
        disk_bytes=round(
            frozen + counts["shards"] * bytes_per_file + 2 * results + LOG_BYTES_PER_TASK * counts["tasks"]
        ),
        # Frozen files, results and their folders; log, reports and heartbeat of each worker and the driver; archive.
        inodes=12 + counts["shards"] + -(-counts["shards"] // SHARDS_PER_FOLDER) + 3 * (workers + 1),
        calibration=measured,
    )


def _calibrate(
    run: RunDirectory, device: str, threads: int, analysis: int, seconds: float
) -> tuple[Calibration, list[TaskRecord]]:
    worker = ShardWorker(run.path, device, threads, "calibration", analysis)
    try:
        _measure(worker, [replace(run.tasks([run.n_tasks - 1])[0], samples=1)])  # the first call is slow
        cost = 0.2 * seconds / CPU_SECONDS
        found, records = _measure(worker, _spread(run, cost))
        # Small batches cost more per task: use the largest that the time allows.
        larger = _spread(run, found.cost * 0.8 * seconds / max(found.seconds, 1e-3))
        if found.seconds < 0.5 * seconds and sum(task.cost for task in larger) > 1.2 * found.cost:
            found, records = _measure(worker, larger)
    finally:
        worker.close()
    return found, records


def _spread(run: RunDirectory, cost: float) -> list[CampaignTask]:
    """Tasks, from the most expensive to the cheapest, with about the given total cost.

    If `FEWEST` of them already cost more, they get fewer samples.
    """
    mean = run.info["cost"] / run.n_tasks
    count = min(max(round(cost / mean), FEWEST), MOST, run.n_tasks)
    tasks = run.tasks(((np.arange(count) + 0.5) / count * run.n_tasks).astype(np.int64))
    share = cost / sum(task.cost for task in tasks)
    if share >= 1.0:
        return tasks
    samples = [max(1, round(task.samples * share)) for task in tasks]
    return [replace(task, samples=n, cost=task.cost * n / task.samples) for task, n in zip(tasks, samples, strict=True)]


def _measure(worker: ShardWorker, tasks: Sequence[CampaignTask]) -> tuple[Calibration, list[TaskRecord]]:
    start = time.perf_counter()
    records = worker.records(tasks)
    seconds = time.perf_counter() - start
    calibration = Calibration(
        tasks=len(tasks),
        samples=sum(record.n_valid for record in records),
        cost=sum(task.cost for task in tasks),
        seconds=round(seconds, 3),
        failed=sum(record.failed for record in records),
    )
    return calibration, records


def _result_sizes(folder: Path, records: list[TaskRecord]) -> tuple[float, float]:
    """Bytes of a result file without contents, and of each sample in it."""
    if not records:
        return BYTES_PER_RESULT_FILE, 150.0
    samples = sum(len(record.samples) for record in records)
    whole = write_result(folder / "all.h5", records)
    if len(records) == 1:
        return min(whole, BYTES_PER_RESULT_FILE), max(whole - BYTES_PER_RESULT_FILE, 0) / max(samples, 1)
    one = write_result(folder / "one.h5", records[:1])
    per_sample = max(whole - one, 0) / max(samples - len(records[0].samples), 1)
    return max(one - per_sample * len(records[0].samples), 0.0), per_sample


def _workers(config: CampaignConfig, on_gpu: bool, threads: int) -> int:
    if isinstance(config.resources.actors, int):
        return config.resources.actors
    if on_gpu:
        found = gpus_here().count
        return max(1, found * workers_per_gpu(available_cores(), found, machine_memory()))
    return max(1, available_cores() // threads)
