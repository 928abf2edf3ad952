"""What an allocation is to do, and which workers each of its nodes gets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inpaint_hpc._version import __version__
from inpaint_hpc.campaign.resources import analysis_processes, machine_memory, worker_threads, workers_per_gpu
from inpaint_hpc.cluster.executor import shard_worker
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import gpus_here
from inpaint_hpc.network.weights import find_weights

from .rendezvous import JobContext

if TYPE_CHECKING:
    from inpaint_hpc.campaign.resources import Resources
    from inpaint_hpc.campaign.run_directory import RunDirectory


@dataclass(frozen=True)
class Allocation:
    """What each node is to do, as paths and numbers, without the campaign itself.

    Attributes:
        run_path: the run directory.
        version: version of inpaint_hpc that submitted the job.
        actors, threads, device: workers per node; None takes the campaign's configuration.
        warning_seconds: s before the end of the allocation at which all results must be written.
        head_timeout: s without a heartbeat of rank 0 after which the other nodes requeue the job.
        claim_timeout: s without a heartbeat of another allocation after which its shards may be done here.
        collect: make the archive when everything is done.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.
    """

    run_path: str
    version: str
    actors: int | None = None
    threads: int | None = None
    device: str | None = None
    warning_seconds: int = 60
    head_timeout: float = 150.0
    claim_timeout: float = 90.0
    collect: bool = True
    factory: Callable[..., Any] | None = None

    def problem(self, context: JobContext, run: RunDirectory) -> str:
        """Why this node cannot work on a run, in one line; '' if it can."""
        if __version__ != self.version:
            return (
                f"{context.node}: inpaint_hpc {__version__} in {sys.prefix}, but {self.version} submitted "
                "this job; make the same installation visible on all nodes, or submit again"
            )
        try:
            weights = find_weights(run.weights_path)
            if not weights.verify() or weights.sha256 != run.info["weights"]["sha256"]:
                return f"{context.node}: {run.weights_path} is not the file that the campaign was created with"
            device, _, _ = self.workers(context, run.config.resources)
        except InputError as error:
            return f"{context.node}: {error}"
        # Workers in tests may pretend to use a GPU.
        check = getattr(self.factory or shard_worker(), "problem_here", None)
        found = check(device, context.gpus) if check is not None else ""
        return f"{context.node}: {found}" if found else ""

    def workers(self, context: JobContext, resources: Resources) -> tuple[str, int, int]:
        """Device, workers and torch threads on a node; the campaign's `resources` supply what is not set here."""
        device = self.device or resources.device
        if device == "auto":
            device = "cuda" if context.gpus and gpus_here().count else "cpu"
        actors = self.actors or (None if resources.actors == "auto" else int(resources.actors))
        given = self.threads or resources.threads
        actors, threads = workers_per_node(context, device, actors, given)
        if device == "cuda" and not given:
            analysis = analysis_processes(resources.analysis, device, context.cpus, actors)
            threads = worker_threads(device, context.cpus, actors, analysis)
        return device, actors, threads


def workers_per_node(context: JobContext, device: str, actors: int | None, threads: int | None) -> tuple[int, int]:
    """Workers on each node, and torch threads of each.

    Args:
        context: the processors and GPUs available.
        device: 'cpu' or 'cuda'.
        actors: workers per node; None takes one per GPU, up to four with CUDA MPS, or one per `threads` processors.
        threads: None divides the processors among the workers; if `actors` is None too, each CPU worker has one.

    Raises:
        InputError: CUDA was requested, but there are no GPUs for this job.
    """
    if device == "cuda" and not context.gpus:
        why = "; ".join(context.gpu_notes) or "neither SLURM nor torch knows any on this node"
        raise InputError(
            f"{context.node}: no GPUs for this job: {why}; submit with --gpus-per-node or --gres where SLURM hands "
            "out GPUs, to nodes that have them, or with --device cpu"
        )
    if actors is None:
        shared = workers_per_gpu(context.cpus, context.gpus, machine_memory()) if device == "cuda" else 1
        actors = context.gpus * shared if device == "cuda" else max(1, context.cpus // (threads or 1))
    return actors, threads or max(1, context.cpus // actors)
