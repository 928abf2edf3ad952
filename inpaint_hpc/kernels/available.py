"""Where the kernels run: on CUDA, and in Triton's interpreter on the CPU for tests."""

from __future__ import annotations

import importlib
import os
from functools import cache

import torch


def use_kernels(tensor: torch.Tensor) -> bool:
    """Whether operations on this tensor use Triton's kernels.

    The environment variable INPAINT_HPC_KERNELS=0 turns them off; TRITON_INTERPRET=1 turns them on for CPU tensors.
    """
    if os.environ.get("INPAINT_HPC_KERNELS") == "0":
        return False
    return (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1") and _has_triton()


@cache
def _has_triton() -> bool:
    # Imported only here, not when other modules are imported: it is slow, and not available on every platform.
    try:
        importlib.import_module("triton")
    except ImportError:
        return False
    return True
