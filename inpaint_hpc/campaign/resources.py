"""The section `resources` of a campaign's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from inpaint_hpc.configuration import Section

_MOST_ANALYSIS = 12


def _actors(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"give a number of workers of at least 1, or auto, not {value!r}")
    return value


def _processes(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"give a number of processes, 0 for none, or auto, not {value!r}")
    return value


def analysis_processes(wanted: int | str, device: str, cores: int, actors: int) -> int:
    """Processes for the analysis of tasks beside each worker of a machine.

    Args:
        wanted: `analysis` of the resources; `auto` takes the cores that GPU workers leave, up to a number that keeps up
            with any GPU, and none on CPUs, where the workers have all cores.
        device: 'cpu' or 'cuda'.
        cores: of the machine.
        actors: workers on it.
    """
    if wanted != "auto":
        return int(wanted)
    return 0 if device == "cpu" else min(_MOST_ANALYSIS, max(0, cores // actors - 1))


class Resources(Section):
    """What a campaign may use.  Nothing here changes a result.

    Attributes:
        actors: workers; `auto` takes one per GPU, or one per `threads` CPU cores.
        threads: torch threads of each worker; None shares the cores out.
        device: `auto` takes GPUs where there are any.
        analysis: processes beside each worker for what is computed of each task without the networks, so that a GPU
            need not wait for it; `auto` takes the cores that GPU workers leave, and none on CPUs.
        edge_budget: graph edges in a batch, the measure of its memory; None chooses for the device.
        shard_minutes: work of a shard, in estimated minutes of one CPU core; None: 5, for GPUs what one does in 10 s.
        shard_tasks: most tasks of a shard; None: 512, for GPUs 2,048, and about 16,384 samples.
        min_shards: small campaigns are split into at least so many shards; None: 16, for GPUs two for each.
    """

    actors: Annotated[int | str, BeforeValidator(_actors)] = "auto"
    threads: int | None = Field(None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    analysis: Annotated[int | str, BeforeValidator(_processes)] = "auto"
    edge_budget: int | None = Field(None, gt=0)
    shard_minutes: float | None = Field(None, gt=0)
    shard_tasks: int | None = Field(None, gt=0)
    min_shards: int | None = Field(None, gt=0)
