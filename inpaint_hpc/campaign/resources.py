"""The section `resources` of a campaign's configuration."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from inpaint_hpc.configuration import Section
from inpaint_hpc.gpus import multi_process_service

_MOST_ANALYSIS = 12
# Workers that share a GPU; by the model of a card, more of them gain little.
_MOST_ON_A_GPU, _CORES_OF_A_WORKER = 4, 4
_BYTES_OF_A_WORKER = 6 * 2**30  # with network, CHGNet, CUDA and five processes for the analysis
# Two units use the networks; with one more there is always one ready to have them next, by the model of a card.
_UNITS_ON_A_GPU = 3
# Torch threads of a GPU worker whose other cores do the analysis.
_THREADS_ON_A_GPU = 2


def _actors(value: object) -> int | str:
    return _at_least_one("workers", value)


def _units(value: object) -> int | str:
    return _at_least_one("units", value)


def _at_least_one(what: str, value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"give a number of {what} of at least 1, or auto, not {value!r}")
    return value


def _processes(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"give a number of processes, 0 for none, or auto, not {value!r}")
    return value


def workers_per_gpu(cores: int, gpus: int, memory: float) -> int:
    """Workers that share each GPU of a machine where their number is not given.

    One is bound by the launches of its kernels and by its own Python, long before the card is; several share a card
    only where CUDA's Multi-Process Service runs, and take turns elsewhere.

    Args:
        cores: of the machine; each worker needs four, for its analysis.
        gpus: of the machine.
        memory: of the machine or job, bytes.
    """
    if not multi_process_service():
        return 1
    room = min(cores // _CORES_OF_A_WORKER, int(memory / _BYTES_OF_A_WORKER)) // max(1, gpus)
    return max(1, min(_MOST_ON_A_GPU, room))


def machine_memory(environment: Mapping[str, str] = os.environ) -> float:
    """Bytes of memory that workers on this machine may take: all of it, or what SLURM gives the job here."""
    import psutil

    def number(name: str) -> int:
        text = environment.get(name, "")
        return int(text) if text.isdecimal() else 0

    given = number("SLURM_MEM_PER_NODE") or number("SLURM_MEM_PER_CPU") * number("SLURM_CPUS_ON_NODE")  # MB; 0: all
    return min(psutil.virtual_memory().total, given * 2**20 or math.inf)


def analysis_processes(wanted: int | str, device: str, cores: int, actors: int) -> int:
    """Processes for the analysis of tasks beside each worker of a machine.

    Args:
        wanted: `analysis` of the resources; `auto` takes the cores of GPU workers, which wait for their GPU, and one
            more, because processes wait for their worker; up to a number that keeps up with any GPU.  None on CPUs,
            where the workers have all cores.
        device: 'cpu' or 'cuda'.
        cores: of the machine.
        actors: workers on it.
    """
    if wanted != "auto":
        return int(wanted)
    share = cores // actors
    return 0 if device == "cpu" or share < 2 else min(_MOST_ANALYSIS, share + 1)


def units_at_once(wanted: int | str, device: str, analysis: int) -> int:
    """Units that each worker has in flight.

    Args:
        wanted: `units_at_once` of the resources; `auto` takes several for GPU workers with processes for the analysis,
            so that a GPU computes for one while others are analysed or written, and one elsewhere.
        device: 'cpu' or 'cuda'.
        analysis: processes for the analysis beside each worker.
    """
    if wanted != "auto":
        return int(wanted)
    return _UNITS_ON_A_GPU if device != "cpu" and analysis else 1


def worker_threads(device: str, cores: int, actors: int, analysis: int) -> int:
    """Torch threads of each worker where the number is not given: its share of the cores, but few for a GPU worker with
    processes for the analysis, which have the others."""
    share = max(1, cores // actors)
    return share if device == "cpu" or not analysis else min(_THREADS_ON_A_GPU, max(1, share - analysis))


class Resources(Section):
    """What a campaign may use.  Nothing here changes a result.

    Attributes:
        actors: workers; `auto` takes one per GPU, up to four where CUDA MPS runs (`workers_per_gpu`), or one per
            `threads` CPU cores.
        threads: torch threads of each worker; None shares the cores out.
        device: `auto` takes GPUs where there are any.
        analysis: processes beside each worker for what is computed of each task without the networks, so that a GPU
            need not wait for it; `auto` takes the cores of GPU workers and one more, and none on CPUs.
        units_at_once: units that each worker has in flight; `auto` takes 3 for GPU workers with such processes, else 1.
        edge_budget: graph edges in a batch, the measure of its memory; None chooses for the device.
        shard_minutes: work of a shard, in estimated minutes of one CPU core; None: 5, for GPUs what one does in 10 s.
        shard_tasks: most tasks of a shard; None: 512, for GPUs 2,048, and about 16,384 samples.
        min_shards: small campaigns are split into at least so many shards; None: 16, for each worker on a GPU one more
            than it has in flight.
    """

    actors: Annotated[int | str, BeforeValidator(_actors)] = "auto"
    threads: int | None = Field(None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    analysis: Annotated[int | str, BeforeValidator(_processes)] = "auto"
    units_at_once: Annotated[int | str, BeforeValidator(_units)] = "auto"
    edge_budget: int | None = Field(None, gt=0)
    shard_minutes: float | None = Field(None, gt=0)
    shard_tasks: int | None = Field(None, gt=0)
    min_shards: int | None = Field(None, gt=0)
