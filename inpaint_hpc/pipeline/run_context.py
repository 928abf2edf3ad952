"""What one run of the pipeline has in hand, whatever its tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Apply

from .settings import PipelineSettings

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.sampling.strategies import Network


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
    analysis: Apply = map
