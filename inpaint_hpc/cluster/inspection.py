"""What this machine and installation provide: versions, devices, weights, SLURM's commands."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.environment import OPTIONAL, available_cores, package_versions
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import gpus_here, multi_process_service

SLURM_COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "sacct", "scancel")


def inspect_environment() -> dict[str, Any]:
    """Everything `inpaint-hpc doctor` shows, as plain JSON values.

    Returns:
        inpaint_hpc, python, platform: versions; packages, optional: version or None by name; cpu: cores this process
        may use, and memory_GiB; devices: name, kind, memory_GiB of each torch device, and kernels, what its operations
        use and why; gpus: names of those for workers, notes on the others, and
        whether several processes can share a card (mps); weights: name, path, sha256, verified;
        slurm: path or None by command; problems: one line each, empty if everything needed is there.
    """
    problems: list[str] = []
    packages = package_versions()
    gpus = _gpus()  # before CUDA is initialised here, which keeps others from a card in exclusive mode
    problems += [f"{name} is not installed" for name, found in packages.items() if found is None]
    return {
        "inpaint_hpc": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "optional": package_versions(OPTIONAL),
        "cpu": {"cores": available_cores(), "memory_GiB": _memory_gib()},
        "devices": _devices(problems),
        "gpus": gpus,
        "weights": _weights(problems),
        "slurm": {command: shutil.which(command) for command in SLURM_COMMANDS},
        "problems": problems,
    }


def _memory_gib() -> float | None:
    """Memory of the machine or of this process's control group, whichever is less."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
        memory = min(memory, int(limit)) if limit.isdecimal() else memory
    except OSError:
        pass
    return round(memory / 2**30, 1)


def _devices(problems: list[str]) -> list[dict[str, Any]]:
    try:
        import torch
    except Exception as error:  # a broken CUDA installation raises anything from ImportError to OSError
        problems.append(f"torch cannot be imported: {' '.join(str(error).split())}")
        return []
    from inpaint_hpc.kernels.available import kernels_of

    devices: list[dict[str, Any]] = [{"name": "cpu", "kind": platform.processor() or platform.machine()}]
    devices[0] |= {"memory_GiB": _memory_gib(), "kernels": kernels_of(torch.device("cpu"))}
    try:
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = round(properties.total_memory / 2**30, 1)
            kernels = kernels_of(torch.device("cuda", index))
            devices.append({"name": f"cuda:{index}", "kind": properties.name, "memory_GiB": memory, "kernels": kernels})
    except Exception as error:  # an old driver, a broken card, no memory left on it ...
        problems.append(f"cuda:{len(devices) - 1} cannot be used: {' '.join(str(error).split())}")
    return devices


def _gpus() -> dict[str, Any]:
    try:
        found = gpus_here()
    except Exception:  # torch is missing or broken, which is a problem of its own
        return {"names": [], "notes": [], "mps": False}
    return {"names": list(found.names), "notes": list(found.notes), "mps": multi_process_service()}


def _weights(problems: list[str]) -> list[dict[str, Any]]:
    from inpaint_hpc.network.weights import list_weights

    try:
        found = list_weights()
    except InputError as error:
        problems.append(str(error))
        return []
    if not found:
        problems.append("no pretrained weights came with this installation")
    rows = []
    for info in found:
        verified = info.verify()
        if not verified:
            problems.append(f"{info.path}: its sha256 is not the one on its card")
        rows.append({"name": info.name, "path": str(info.path), "sha256": info.sha256, "verified": verified})
    return rows
