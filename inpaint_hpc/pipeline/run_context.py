"""What one run of the pipeline has in hand, whatever its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from inpaint_hpc.sampling.settings import SamplingSettings

from .settings import PipelineSettings

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.sampling.strategies import Network


class Named(Protocol):
    """What a step of the analysis takes: one task's part, by the name of the task."""

    @property
    def name(self) -> str:
        """Name of the task."""


Item = TypeVar("Item", bound=Named)
Found = TypeVar("Found")


class Analysis(Protocol):
    """How a step is done for many tasks: `map`, or that of an `AnalysisPool`."""

    def __call__(self, function: Callable[[Item], Found], items: Iterable[Item], /) -> Iterable[Found]:
        """Results of a function, in the order of the items."""


@dataclass(frozen=True)
class RunContext:
    """Passed from stage to stage.

    Attributes:
        network: a score network.
        sampling, pipeline: settings.
        device: of the network and of CHGNet.
        progress: called with the stage, what is done and the total.
        analysis: how steps without networks are done for many tasks.
    """

    network: Network
    sampling: SamplingSettings
    pipeline: PipelineSettings
    device: torch.device | str | None = None
    progress: Callable[[str, int, int], None] | None = None
    analysis: Analysis = map
