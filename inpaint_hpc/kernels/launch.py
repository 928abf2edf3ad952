"""Launching a kernel where its tensors are."""

from __future__ import annotations

from typing import Any

import torch

from .problems import report_failure


def launch(kernel: Any, grid: tuple[int, ...], like: torch.Tensor, *arguments: Any, **options: Any) -> None:
    """Launch a Triton kernel on the device of a tensor; Triton itself takes the current device, whatever its arguments.

    Raises:
        Exception: it cannot be compiled; from then on `use_kernels` says so.
    """
    try:
        with torch.cuda.device_of(like):
            kernel[grid](*arguments, **options)
    except Exception as error:
        report_failure(like.device, error)
        raise
