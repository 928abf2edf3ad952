"""Run a campaign on this machine: the workers that its resources allow, and their executor."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc.campaign.resources import (
    analysis_processes,
    machine_memory,
    units_at_once,
    worker_threads,
    workers_per_gpu,
)
from inpaint_hpc.cluster.ray.executor import RayExecutor
from inpaint_hpc.cluster.ray.node import RayNode, clean_up
from inpaint_hpc.cluster.ray.slots import ActorSettings
from inpaint_hpc.environment import available_cores
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import gpus_here

from .driver import DriveOptions, drive
from .driver_state import DriveReport, DriveState
from .executor import Executor, worker_factory
from .inline_executor import InlineExecutor

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory

_LOG = logging.getLogger("inpaint_hpc.workers")

CLUSTERS = ("ray", "inline")
# Memory of a CPU worker with network, CHGNet and a batch; `auto` starts no more workers than fit in memory.
_WORKER_BYTES = 1.5 * 2**30


@dataclass(frozen=True)
class Workers:
    """Number of workers, and the resources of each.

    Attributes:
        actors: number of workers.
        device: 'cpu' or 'cuda'.
        threads: torch threads per worker.
        gpus: GPUs of this machine that they share; 0 on CPUs.
        analysis: processes for the analysis of tasks beside each.
        units_at_once: units that each has in flight.
    """

    actors: int
    device: str
    threads: int
    gpus: int = 0
    analysis: int = 0
    units_at_once: int = 1

    @property
    def gpus_per_actor(self) -> float:
        """Share of a GPU per worker, rounded down to Ray's resolution so that all fit."""
        return math.floor(1e4 * min(1.0, self.gpus / self.actors)) / 1e4


def choose_workers(
    actors: int | str = "auto",
    threads: int | None = None,
    device: str = "auto",
    analysis: int | str = "auto",
    at_once: int | str = "auto",
) -> Workers:
    """Workers for this machine.

    Args:
        actors: `auto` takes one per GPU, up to four with CUDA MPS, or one per `threads` CPU cores as far as memory
            allows.
        threads: torch threads per worker; None: see `worker_threads`.
        device: 'cpu', 'cuda' or 'auto', which takes GPUs where there are any.
        analysis: see `analysis_processes`.
        at_once: see `units_at_once`.

    Raises:
        InputError: CUDA was requested but is not available.
    """
    gpus = 0
    notes: tuple[str, ...] = ()
    if device != "cpu":
        found = gpus_here()
        gpus, notes = found.count, found.notes
    if device == "cuda" and not gpus:
        raise InputError("; ".join(("no CUDA device is available to torch", *notes, "use --device cpu")))
    for note in notes:
        _LOG.warning("%s; the workers run on %s", note, f"{gpus} GPUs" if gpus else "CPUs")
    cores = available_cores()
    kind = "cuda" if gpus else "cpu"
    if actors == "auto":
        memory = machine_memory()
        fit = max(1, int(memory / _WORKER_BYTES))
        actors = gpus * workers_per_gpu(cores, gpus, memory) or max(1, min(cores // (threads or 1), fit))
    actors = int(actors)
    beside = analysis_processes(analysis, kind, cores, actors)
    return Workers(
        actors,
        kind,
        threads or worker_threads(kind, cores, actors, beside),
        min(gpus, actors),
        beside,
        units_at_once(at_once, kind, beside),
    )


def make_executor(
    run_path: str | Path, workers: Workers, cluster: str = "ray", factory: Callable[..., Any] | None = None
) -> Executor:
    """An executor on this machine, not started yet.

    Threads are not pinned to cores: two campaigns on one machine would be pinned to the same ones.

    Args:
        run_path: the run directory.
        workers: the workers to start; 'inline' has one worker, and one unit at a time, whatever `workers` says.
        cluster: 'ray' or 'inline'.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.

    Raises:
        InputError: no such cluster.
    """
    factory = worker_factory(factory, workers.analysis)
    if cluster == "inline":
        return InlineExecutor(run_path, workers.device, workers.threads, factory)
    if cluster != "ray":
        raise InputError(f"unknown cluster '{cluster}': choose one of {', '.join(CLUSTERS)}")
    # torch and its BLAS read these when they are loaded, before anyone could set them.
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(workers.threads))
    if workers.device == "cuda":
        variables |= gpus_here().environment
    node = RayNode(run_path, cpus=workers.actors * workers.threads, gpus=workers.gpus, variables=variables)
    each = ActorSettings(workers.device, workers.threads, workers.gpus_per_actor, workers.units_at_once)
    return RayExecutor(run_path, node, workers.actors, each, factory)


def run_campaign(
    run: RunDirectory,
    cluster: str = "ray",
    actors: int | str | None = None,
    threads: int | None = None,
    device: str | None = None,
    progress: Callable[[DriveState], None] | None = None,
    verify: bool = False,
    stop_at: float | None = None,
) -> DriveReport:
    """Run the remaining tasks of a campaign on this machine.

    Args:
        run: the campaign.
        cluster: 'ray' or 'inline'.
        actors, threads, device: see `choose_workers`; by default from the campaign's configuration.
        progress, verify, stop_at: see `drive`.

    Raises:
        InputError, ClusterError, StorageError: as `choose_workers` and `drive`.
    """
    resources = run.config.resources
    workers = choose_workers(
        resources.actors if actors is None else actors,
        resources.threads if threads is None else threads,
        device or resources.device,
        resources.analysis,
        resources.units_at_once,
    )
    clean_up(run.path)
    options = DriveOptions(stop_at=stop_at, verify=verify)
    return drive(run, make_executor(run.path, workers, cluster), progress, options)
