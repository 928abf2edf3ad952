"""Where the kernels run: on CUDA, and in Triton's interpreter on the CPU for tests.

Triton comes with torch, but compiles kernels and their launchers when they are first called, which fails where there is
no C compiler, no Python.h or no folder to write to, and on cards that it does not know.  So a small kernel is tried
first, once per process and device; where it fails, torch's operations take the place of all kernels.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
from functools import cache
from pathlib import Path

import torch

_LOG = logging.getLogger("inpaint_hpc.kernels")
_PROBLEMS: dict[int, str] = {}  # by the device's index; '' where kernels work
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
    if index not in _PROBLEMS:
        _set_problem(index, _try(torch.device("cuda", index)))
    return _PROBLEMS[index]


def kernels_of(device: torch.device) -> str:
    """What operations on a device use and why, in one line."""
    if os.environ.get("INPAINT_HPC_KERNELS") == "0":
        return "torch's operations (INPAINT_HPC_KERNELS=0)"
    if device.type != "cuda":
        return "torch's operations (kernels are for GPUs)"
    problem = kernel_problem(device)
    return f"torch's operations ({problem})" if problem else f"Triton {importlib.import_module('triton').__version__}"


def report_failure(device: torch.device, error: Exception) -> None:
    """Use torch's operations on this device from now on if an error says that a kernel cannot be compiled there."""
    if device.type == "cuda" and (
        isinstance(error, (OSError, subprocess.SubprocessError))
        or "C compiler" in str(error)
        or type(error).__module__.startswith("triton.compiler")
    ):
        _set_problem(device.index, reason_of(error))


def _set_problem(index: int, problem: str) -> None:
    _PROBLEMS[index] = problem
    if problem:
        _LOG.warning("cuda:%d: no kernels, torch's slower operations take their place: %s", index, problem)


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


def reason_of(error: Exception) -> str:
    """Why a kernel could not be compiled, and what may help, in one line."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, subprocess.CalledProcessError):
        command = error.cmd if isinstance(error.cmd, str) else error.cmd[0]
        return f"{Path(command).name} failed with exit status {error.returncode}; it needs Python's headers (Python.h)"
    if "C compiler" in text:
        return "there is no C compiler; install gcc or name one in CC"
    if isinstance(error, OSError):
        return f"{text}; TRITON_CACHE_DIR names another folder for compiled kernels"
    return f"{type(error).__name__}: {text}"


@cache
def _has_triton() -> bool:
    # Imported only here, not when other modules are imported: it is slow, and not available on every platform.
    try:
        importlib.import_module("triton")
    except ImportError:
        return False
    return True
