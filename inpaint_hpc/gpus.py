"""The GPUs of this machine that this job may use and that torch can use.

They are counted without initialising CUDA in this process: it may fork, and a driver shall hold no memory of a card.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from glob import glob
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    import torch

# Without one of these a driver has no card to offer, and nothing need be started to know it.
DEVICE_FILES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg", "/dev/nvgpu/*", "/dev/nvhost-gpu")
# Says which GPUs a Ray worker of ours shows itself.
WORKER_VARIABLE = "INPAINT_HPC_GPU_VARIABLE"
# A batch of a worker may take one part in so many of its GPU's memory.
SHARED_VARIABLE = "INPAINT_HPC_BATCHES_PER_GPU"
# Of several units of a worker two use the networks at a time; seldom are both batches of full size.
BATCHES_OF_SEVERAL_UNITS = 1.5
_TIMEOUT = 180.0  # s; importing torch from a busy file system takes long
# What a job has been given, in words that torch does not read.
_LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_QUIET: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
_PROBE = """
import sys; sys.path = [p for p in sys.path if p]
import json, torch
usable, reason = [], ""
try:
    for index in range(torch.cuda.device_count()):
        try:
            torch.ones(1, device=f"cuda:{index}").item()
            usable.append(index)
        except Exception as error:
            reason = f"cuda:{index}: {error}"
except Exception as error:
    reason = str(error)
print(json.dumps([usable, reason]))
"""


@dataclass(frozen=True)
class Gpus:
    """GPUs of this machine.

    Attributes:
        names: of those that torch can use, as in `variable`: an index, or the UUID of a card or of a MIG slice.
        promised: how many the environment says this job has; None if it does not say.
        variable: environment variable by which a process shows itself one of them.
        notes: what is unused and why, and what is strange, one line each.
    """

    names: tuple[str, ...] = ()
    promised: int | None = None
    variable: str = "CUDA_VISIBLE_DEVICES"
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of GPUs that can be used."""
        return len(self.names)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a Ray node that is to hand out these GPUs; {} without any.

        Ray reads one of both by its own idea of the cards, so they say the same.
        """
        names = ",".join(self.names)
        both = dict.fromkeys({"CUDA_VISIBLE_DEVICES", self.variable}, names)
        return both | {WORKER_VARIABLE: self.variable} if names else {}


def gpus_here() -> Gpus:
    """The GPUs that this process and those it starts may use, by the environment, SLURM and torch."""
    import torch

    hip = bool(torch.version.hip)
    variable = "HIP_VISIBLE_DEVICES" if hip else "CUDA_VISIBLE_DEVICES"
    notes: list[str] = []
    names, source = _visible(os.environ, hip, notes)
    given, giver = _given(os.environ, notes)
    promised = len(names) if names is not None else None if given is None else len(given)
    found: list[str]
    if promised == 0:
        found, reason = [], f"{source or giver} gives this job none"
    elif names is not None:
        found, reason = _of_named(torch, variable, names, source)
    else:
        usable, reason = _usable(torch, variable, None)
        slices = _slices() if usable and not hip else None
        found, reason = _chosen(slices or [str(index) for index in usable], given, reason)
    there = max(len(names or ()), len(given or ())) or _cards()
    if len(found) < there:
        reason = reason or ("torch sees no more" if found else _sees_none(torch))
        notes.append(f"{there - len(found)} of {there} GPUs are unused: {reason}")
    return Gpus(tuple(found), promised, variable, tuple(dict.fromkeys(notes)))


def _of_named(torch: ModuleType, variable: str, names: list[str], source: str) -> tuple[list[str], str]:
    """Those of the named GPUs that torch can use, and why not more."""
    if names[0].startswith("MIG-"):
        # CUDA shows a process one slice, the first; what holds for it is taken to hold for the others.
        usable, reason = _usable(torch, variable, names[0])
        return (names if usable else []), reason
    usable, reason = _usable(torch, variable, ",".join(names))
    found = [names[index] for index in usable if index < len(names)]
    return found, f"{source} names no more" if len(found) == len(names) else reason


def _visible(environment: Mapping[str, str], hip: bool, notes: list[str]) -> tuple[list[str] | None, str]:
    """Names that limit torch, None without a limit, and what sets it."""
    if hip and "HIP_VISIBLE_DEVICES" not in environment and "ROCR_VISIBLE_DEVICES" in environment:
        # AMD's lower layer numbers what this leaves from 0 on.
        source = "ROCR_VISIBLE_DEVICES"
        return [str(k) for k in range(len(_entries(environment[source], source, notes)))], source
    for source in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES") if hip else ("CUDA_VISIBLE_DEVICES",):
        if source in environment:
            return _entries(environment[source], source, notes), f"{source}={environment[source]}"
    return None, ""


def _given(environment: Mapping[str, str], notes: list[str]) -> tuple[list[str] | None, str]:
    """What this job was given, in variables that torch does not read; '' for a GPU whose number is not known."""
    for source in _LISTS:
        if source in environment:
            return _entries(_without_ranges(environment[source]), source, notes), f"{source}={environment[source]}"
    text = environment.get("SLURM_GPUS_ON_NODE")
    if text is None:
        return None, ""
    number = re.fullmatch(r"(?:[\w.:-]+:)?(\d{1,3})", text)
    if number is None:
        notes.append(f"SLURM_GPUS_ON_NODE={text} is no number of GPUs and is ignored")
        return None, ""
    return [""] * int(number[1]), f"SLURM_GPUS_ON_NODE={text}"


def _entries(value: str, source: str, notes: list[str]) -> list[str]:
    """GPUs that a list names, as CUDA reads it: to the first entry that names none; none if one is named twice."""
    parts = [part.strip() for part in value.split(",")]
    names = []
    for part in parts:
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", part):
            break
        names.append(part)
    if len(set(names)) < len(names):
        notes.append(f"{source}={value} names a GPU twice, so that CUDA shows none")
        return []
    rest = parts[len(names) :]
    if any(rest) and not (len(rest) == 1 and rest[0] in ("-1", "NoDevFiles")):
        notes.append(f"{source}={value}: '{rest[0]}' names no GPU; it and what follows is ignored, as by CUDA")
    return names


def _without_ranges(value: str) -> str:
    """'0-2,5' as '0,1,2,5'."""
    return re.sub(r"\b(\d{1,3})-(\d{1,3})(?=,|$)", lambda m: ",".join(map(str, range(int(m[1]), int(m[2]) + 1))), value)


def _chosen(seen: list[str], given: list[str] | None, reason: str) -> tuple[list[str], str]:
    """Which of the GPUs that torch sees are this job's where it sees them all, and why not more."""
    if given is None or len(seen) <= len(given):
        return seen, reason
    if set(given) <= set(seen):
        return given, reason
    return [], f"torch sees {len(seen)}, and nothing says which of them are this job's; set CUDA_VISIBLE_DEVICES"


def _usable(torch: ModuleType, variable: str, shown: str | None) -> tuple[list[int], str]:
    """Indices of the GPUs that torch can use when it is shown these, and why not more."""
    if not torch.backends.cuda.is_built():
        return list(range(torch.cuda.device_count())), ""
    if not _cards():
        return [], "there is no device file of a GPU"
    return _tried(variable, shown, os.environ.get("ROCR_VISIBLE_DEVICES"))


@cache
def _tried(variable: str, shown: str | None, rocr: str | None) -> tuple[list[int], str]:
    """The same, tried in another process; `rocr` only tells one environment from another."""
    environment = dict(os.environ) if shown is None else os.environ | {variable: shown}
    command = [sys.executable, "-c", _PROBE]
    try:
        done = subprocess.run(command, env=environment, timeout=_TIMEOUT, **_QUIET)
        usable, reason = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return [], f"torch did not answer within {_TIMEOUT:.0f} s; check nvidia-smi"
    except (OSError, ValueError, IndexError):
        return [], "a process that looked for them ended without an answer; check nvidia-smi"
    return usable, " ".join(reason.split())[:300]


@cache
def _slices() -> list[str] | None:
    """MIG slices, and cards without, by UUID; None where no card is cut into slices or nobody can tell."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], timeout=60.0, **_QUIET).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    cards: list[list[str]] = []
    for line in listed.splitlines():
        uuid = re.search(r"\(UUID: ((?:GPU|MIG)-[\w/-]+)\)", line)
        if uuid and line.startswith("GPU"):
            cards.append([uuid[1]])
        elif uuid and cards:
            cards[-1].append(uuid[1])
    if not any(len(card) > 1 for card in cards):
        return None
    return [name for card in cards for name in (card[1:] or card)]


def _cards() -> int:
    """Cards that drivers of this machine know, this job's or not."""
    nvidia, *others = (len(glob(pattern)) for pattern in DEVICE_FILES)
    if nvidia:
        return nvidia
    amd = sum(read.strip() not in ("", "0") for read in map(_read, glob("/sys/class/kfd/kfd/topology/nodes/*/gpu_id")))
    return amd or min(1, sum(others))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _sees_none(torch: ModuleType) -> str:
    """Why torch may see no card, in one line."""
    if torch.version.hip:
        built = f"for ROCm {torch.version.hip}"
    elif torch.version.cuda:
        built = f"for CUDA {torch.version.cuda}"
    else:
        return f"torch {torch.__version__} is one for CPUs; install one for this card"
    return f"torch {torch.__version__} {built} does not see them; check nvidia-smi or rocm-smi"


def multi_process_service() -> bool:
    """Whether CUDA's Multi-Process Service is there for processes that start now, so that several can share a card.

    Its daemon listens at `control` in CUDA_MPS_PIPE_DIRECTORY, /tmp/nvidia-mps by default, which it leaves behind when
    it is killed; beside it is the number of its process.
    """
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps"
    daemon = _read(f"{folder}/nvidia-cuda-mps-control.pid").strip()
    return os.path.exists(f"{folder}/control") and (not daemon.isdecimal() or os.path.exists(f"/proc/{daemon}"))


def show_worker_its_gpu(assigned: list[str]) -> None:
    """Show this process the GPU that Ray assigned to it, before torch looks.

    Ray sets the variable for the cards that it believes to see, which need not be the one that torch reads.
    """
    variable = os.environ.get(WORKER_VARIABLE)
    if variable and assigned:
        os.environ[variable] = ",".join(assigned)
        if variable != "CUDA_VISIBLE_DEVICES":  # two choices, one after the other, would leave none
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def is_gpu(device: torch.device | str | None) -> bool:
    """Whether a device is a GPU, whose calls take as long for one task as for many."""
    return "cuda" in str(device)


def memory_for_batches(device: torch.device | str) -> int:
    """Bytes of a GPU that a batch of this process may take: 60 % of what is free, but no more than 60 % of its share of
    the card where several have theirs at once, each of which would otherwise take what it finds free first."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return int(0.6 * min(free, total / float(os.environ.get(SHARED_VARIABLE, "1"))))
