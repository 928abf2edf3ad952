"""Processes that belong to a campaign: found by a mark in their environment, killed without touching any other.

Ray ends only processes that it keeps track of, and `ray stop` ends every Ray process of the user.  So everything that
is started for a campaign carries its driver's mark, inherited by all descendants, in a session (setsid) of its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from inpaint_hpc.gpus import gpus_here

FOLDER, RUN, OWNER = "INPAINT_HPC_RAY_FOLDER", "INPAINT_HPC_RAY_RUN", "INPAINT_HPC_RAY_OWNER"


def identity(pid: int | None = None) -> str:
    """'PID:START' of a process, by default this one; unlike a pid it is never reused.

    Raises:
        psutil.NoSuchProcess: no such process.
    """
    process = psutil.Process(pid)
    return f"{process.pid}:{process.create_time():.2f}"


def is_alive(owner: str) -> bool:
    """Whether the process of an `identity` on this machine still runs."""
    try:
        pid, _, started = owner.partition(":")
        process = psutil.Process(int(pid))
        # The start time is computed from the boot time, which shifts a little when the clock is set.
        same = abs(process.create_time() - float(started)) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def marks(folder: str | Path, run: str | Path) -> dict[str, str]:
    """Environment variables that mark what this process starts for a run, with session files in `folder`."""
    return {FOLDER: str(folder), RUN: str(Path(run).resolve()), OWNER: identity()}


def marked(mark: Mapping[str, str], session: int | None = None) -> list[psutil.Process]:
    """Processes of this user that carry all marks, and all others in their sessions; never this one or its parents.

    Some of Ray's helpers overwrite their environment, but none leaves its session.

    Args:
        mark: environment variables, at least one.
        session: all processes in this session belong too.  Others in the session of this process do not.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    others: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in own or process.uids().real != os.getuid():
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue  # it has ended; init may take seconds to notice, and in some containers never does
            others.setdefault(os.getsid(process.pid), []).append(process)
            environment = process.environ()
            if all(environment.get(name) == value for name, value in mark.items()):
                found[process.pid] = process
    sessions = set()
    for pid in found:
        with contextlib.suppress(OSError):
            sessions.add(os.getsid(pid))
    sessions.discard(os.getsid(0))
    if session is not None:
        sessions.add(session)
    for number in sessions:
        found |= {process.pid: process for process in others.get(number, ())}
    return list(found.values())


def end(mark: Mapping[str, str], session: int | None = None, timeout: float = 10.0) -> int:
    """Kill all `marked` processes, including those started meanwhile; returns how many there were.

    Results are written atomically, so workers need no time to clean up.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + timeout
    while True:
        victims = marked(mark, session)
        if not victims or time.monotonic() > deadline:
            return len(ended)
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.kill()
                ended.add(process.pid)
        psutil.wait_procs(victims, timeout=0.1)


def end_orphans(run: str | Path) -> int:
    """Kill processes that dead drivers of a run left on this machine; returns how many there were."""
    run = str(Path(run).resolve())
    owners = set()
    for process in marked({RUN: run}):
        with contextlib.suppress(psutil.Error):
            owners.add(process.environ().get(OWNER, ""))
    return sum(end({RUN: run, OWNER: owner}) for owner in owners if owner and not is_alive(owner))


def processor_use(pids: Iterable[int], seen: dict[int, tuple[psutil.Process, float, float]]) -> float:
    """Processor cores in use by processes since the last call with the same `seen`, which it updates."""
    now, total = time.monotonic(), 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process, then, before = seen.get(pid) or (psutil.Process(pid), now, None)
            times = process.cpu_times()
            spent = times.user + times.system
            if before is not None and now > then:
                total += max(spent - before, 0.0) / (now - then)
            seen[pid] = (process, now, spent)
    return total


def gpu_use() -> float | None:
    """Mean use of the visible GPUs in per cent; None where it cannot be read."""
    import torch

    try:
        # Counting them with torch might initialise CUDA.
        percents = [torch.cuda.utilization(index) for index in range(gpus_here().count)]
    except Exception:  # no NVML, an old driver, no permission ...: only a display
        return None
    return sum(percents) / len(percents) if percents else None
