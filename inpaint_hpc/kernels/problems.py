"""What is known of devices on which kernels cannot be compiled or launched."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import torch

_LOG = logging.getLogger("inpaint_hpc.kernels")
KNOWN: dict[int, str] = {}  # by the index of the CUDA device, in one line; '' where kernels work


def set_problem(index: int, problem: str) -> None:
    """Keep what is wrong with kernels on a CUDA device, and warn of it once."""
    before, KNOWN[index] = KNOWN.get(index), problem
    if problem and problem != before:
        _LOG.warning("cuda:%d: no kernels, torch's slower operations take their place: %s", index, problem)


def report_failure(device: torch.device, error: Exception) -> None:
    """Use torch's operations on this device from now on if an error says that a kernel cannot be compiled there."""
    if device.type == "cuda" and (
        isinstance(error, (OSError, subprocess.SubprocessError))
        or "C compiler" in str(error)
        or type(error).__module__.startswith(("triton.compiler", "triton.runtime"))
    ):
        set_problem(device.index, reason_of(error))


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
