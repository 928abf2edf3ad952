"""Where the kernels run: on CUDA, and in Triton's interpreter on the CPU for tests.

Triton comes with torch, but compiles kernels and their launchers when they are first called, which fails where there is
no C compiler, no Python.h or no folder to write to, and on cards that it does not know.  So a small kernel is tried
first, once per process and device; where it fails, torch's operations take the place of all kernels.
"""

from __future__ import annotations

import importlib
import os
from functools import cache

import torch

from . import problems
from .problems import reason_of, set_problem

_OLDEST = (7, 0)  # compute capability that Triton supports


def use_kernels(tensor: torch.Tensor) -> bool:
    """Whether operations on this tensor use Triton's kernels.

    The environment variable INPAINT_HPC_KERNELS=0 turns them off; TRITON_INTERPRET=1 turns them on for CPU tensors.
    """
    if os.environ.get("INPAINT_HPC_KERNELS") == "0":
        return False
    if os.environ.get("TRITON_INTERPRET") == "1":
        return _has_triton()
    return tensor.is_cuda and not kernel_problem(tensor.device)


def kernel_problem(device: torch.device) -> str:
    """Why kernels do not work on a CUDA device, in one line; '' if they do.  Tried at the first call, with a warning.

    Raises:
        torch.OutOfMemoryError: no memory to try it; the next call tries again.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    if index not in problems.KNOWN:
        set_problem(index, _try(torch.device("cuda", index)))
    return problems.KNOWN[index]


def kernels_of(device: torch.device) -> str:
    """What operations on a device use and why, in one line."""
    if os.environ.get("INPAINT_HPC_KERNELS") == "0":
        return "torch's operations (INPAINT_HPC_KERNELS=0)"
    if os.environ.get("TRITON_INTERPRET") == "1" and _has_triton():
        return "Triton's interpreter (TRITON_INTERPRET=1)"
    if device.type != "cuda":
        return "torch's operations (kernels are for GPUs)"
    problem = kernel_problem(device)
    return f"torch's operations ({problem})" if problem else f"Triton {importlib.import_module('triton').__version__}"


def _try(device: torch.device) -> str:
    if not _has_triton():
        return "Triton is not installed"
    if not torch.version.hip:
        capability = torch.cuda.get_device_capability(device)
        if capability < _OLDEST:
            return f"compute capability {'.'.join(map(str, capability))} of the card; Triton needs 7.0"
    from inpaint_hpc.kernels.trial import try_compiler, try_kernel

    try:
        try_compiler()
        try_kernel(device)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # compilers, drivers and file systems raise anything
        return reason_of(error)
    return ""


@cache
def _has_triton() -> bool:
    # Imported only here, not when other modules are imported: it is slow, and not available on every platform.
    try:
        importlib.import_module("triton")
    except ImportError:
        return False
    return True
