"""The section `resources` of a campaign's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from inpaint_hpc.configuration import Section


def _actors(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"give a number of workers of at least 1, or auto, not {value!r}")
    return value


class Resources(Section):
    """What a campaign may use.  Nothing here changes a result.

    Attributes:
        actors: workers; `auto` takes one per GPU, or one per `threads` CPU cores.
        threads: torch threads of each worker; None shares the cores out.
        device: `auto` takes GPUs where there are any.
        edge_budget: graph edges in a batch, the measure of its memory; None chooses for the device.
        shard_minutes: work of a shard, in estimated minutes of one CPU core; None: 5, for GPUs what one does in 10 s.
        shard_tasks: most tasks of a shard; None: 512, for GPUs 2,048, and about 16,384 samples.
        min_shards: small campaigns are split into at least so many shards; None: 16, for GPUs two for each.
    """

    actors: Annotated[int | str, BeforeValidator(_actors)] = "auto"
    threads: int | None = Field(None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    edge_budget: int | None = Field(None, gt=0)
    shard_minutes: float | None = Field(None, gt=0)
    shard_tasks: int | None = Field(None, gt=0)
    min_shards: int | None = Field(None, gt=0)
