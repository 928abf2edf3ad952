"""Keeps a Ray node running as long as its owner: `python -m inpaint_hpc.cluster.ray.watchdog FOLDER COMMAND...`

The owner holds the other end of stdin.  When it closes (the owner ended, even by SIGKILL), when the owner writes to it,
when the command ends, or when a batch system sends SIGTERM to all, every process of the session is killed.  This module
must stay cheap to import.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from inpaint_hpc.cluster.processes import FOLDER, end
from inpaint_hpc.environment import end_with_parent


def watch(folder: Path, command: list[str]) -> int:
    """Run a command until it or the owner ends; its exit status, 0 when the owner ended first.

    Args:
        folder: holds ray.log; removed if the owner is gone or soon will be, kept for it to read if the command ended or
            the owner asked for the end.
        command: what to run.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    asked_to_stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.append(number))
    with open(folder / "ray.log", "wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_die_with_watchdog
        )
    owned, told = True, b""
    while owned and not told and not asked_to_stop and child.poll() is None:
        if select.select([sys.stdin], [], [], 0.5)[0]:
            told = os.read(sys.stdin.fileno(), 1)
            owned = bool(told)
    status = child.poll()
    end({FOLDER: os.environ[FOLDER]}, session=os.getsid(0))
    if not owned or asked_to_stop:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if status is None else status


def _die_with_watchdog() -> None:
    """If the watchdog itself is killed, Linux ends its child, and `ray start` then ends the rest."""
    end_with_parent(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(watch(Path(sys.argv[1]), sys.argv[2:]))
