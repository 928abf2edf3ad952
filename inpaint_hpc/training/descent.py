"""The optimizer of a run and the running average of the weights, without waiting for a GPU in any step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from inpaint_hpc.errors import InputError

from .config import OptimizerSection

# Steps with non-finite gradients are skipped; this many in a row mean that the run has diverged.
_MAX_BAD_STEPS = 20


class Descent:
    """AdamW on clipped gradients; a step whose gradients are not finite leaves weights, moments and average unchanged.

    Args:
        network: what is trained; its parameters must stay the same tensors.
        settings: of the optimizer.
        fused: whether that decision is made on the device: on a GPU, where reading a number would make this process
            wait for all queued work.

    Attributes:
        optimizer: AdamW.
        average: running average of `network.state_dict()`.
    """

    def __init__(self, network: torch.nn.Module, settings: OptimizerSection, fused: bool) -> None:
        """Make the optimizer, and the average from the weights as they are."""
        self.settings, self.fused = settings, fused
        self.parameters = list(network.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
            fused=fused or None,
        )
        # Views of parameters and buffers, which follow the network's updates.
        self._state = network.state_dict()
        self.average = {name: value.clone() for name, value in self._state.items()}
        self._bad_steps = torch.zeros((), device=self.parameters[0].device)

    def step(self, learning_rate: float, step: int) -> None:
        """Update the weights from the gradients, and the average from the weights.

        Args:
            learning_rate: learning rate of this step.
            step: steps taken before; early averages cover few steps.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        bad = (~torch.isfinite(norm)).to(self._bad_steps.dtype)
        self._bad_steps.add_(bad).mul_(bad)  # in a row
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        if self.fused:
            # The attribute by which GradScaler skips steps: the fused kernel reads it on the device.
            self.optimizer.found_inf = bad  # type: ignore[attr-defined]  # torch gives it no annotation
            self.optimizer.step()
            self._move_average((1 - decay) * (1 - bad))
        elif not bad:
            self.optimizer.step()
            self._move_average(1 - decay)

    @torch.no_grad()
    def _move_average(self, share: float | torch.Tensor) -> None:
        average, state = list(self.average.values()), list(self._state.values())
        if isinstance(share, float):
            torch._foreach_lerp_(average, state, share)
        else:
            change = torch._foreach_sub(state, average)
            torch._foreach_mul_(change, share)
            torch._foreach_add_(average, change)

    def check(self) -> None:
        """Check the number of bad steps in a row, which waits for the device.

        Raises:
            InputError: too many.
        """
        if self._bad_steps > _MAX_BAD_STEPS:
            raise InputError("training diverged (gradients are not finite); lower optimizer.learning_rate")

    def state_dict(self, moments: torch.dtype = torch.float32) -> dict[str, Any]:
        """State of the optimizer, its moments in that dtype."""
        state = self.optimizer.state_dict()
        state["state"] = {
            index: {k: v.to(moments) if k.startswith("exp_avg") else v for k, v in one.items()}
            for index, one in state["state"].items()
        }
        return state

    def load(self, optimizer: dict[str, Any], average: Mapping[str, torch.Tensor]) -> None:
        """Continue from an optimizer state, of any dtype and from any device, and an average."""
        for group in optimizer["param_groups"]:
            group["fused"] = self.fused or None
        self.optimizer.load_state_dict(optimizer)
        for name, value in self.average.items():
            value.copy_(average[name])
