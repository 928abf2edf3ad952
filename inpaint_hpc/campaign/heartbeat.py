"""Heartbeats of a worker, written by a separate thread while the worker computes."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from .run_directory import RunDirectory

EVERY = 5.0


class Heartbeat:
    """Writes workers/NAME.json every few seconds until it is closed.

    Every record carries `state` (idle, running, ended) and `progressed`, the time when the worker last made
    progress: one with fresh heartbeats but no progress hangs.  A full disk is not reported here, but when the worker
    writes its result.

    Args:
        run: the run directory.
        name: name of the worker.
        every: s between two records.
        fields: fields of all records.
    """

    def __init__(self, run: RunDirectory, name: str, every: float = EVERY, **fields: object) -> None:
        """Describe a worker; nothing is written before `start`."""
        self._run, self._name, self._every = run, name, every
        self._fields: dict[str, Any] = {"state": "idle", "progressed": time.time(), **fields}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write a record now and at regular intervals from now on; does nothing if already started."""
        if self._thread is None:
            self._closed.clear()
            self._thread = threading.Thread(target=self._beat, name=f"heartbeat of {self._name}", daemon=True)
            self.write()
            self._thread.start()

    def update(self, **fields: object) -> None:
        """Change fields of the next record; counts as progress."""
        with self._lock:
            self._fields.update(fields, progressed=time.time())

    def write(self) -> None:
        """Write a record now."""
        with self._lock:
            record = dict(self._fields)
        with contextlib.suppress(OSError):
            self._run.heartbeat(self._name, record)

    def close(self) -> None:
        """Stop; the last record states that the worker has ended."""
        if self._thread is not None:
            self._closed.set()
            self._thread.join()
            self._thread = None
            self.update(state="ended", unit=None)
            self.write()

    def _beat(self) -> None:
        while not self._closed.wait(self._every):
            self.write()
