"""Heartbeats of workers and drivers, given by a separate thread while they compute."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from .run_directory import RunDirectory

EVERY = 5.0


class Beats:
    """Calls functions now and every few seconds from a thread of its own, until it is stopped; may be started again.

    Args:
        calls: what is called; an `OSError` is passed over, as a full disk is reported where a result is written.
        name: of the thread.
        every: s between two calls.
    """

    def __init__(self, *calls: Callable[[], object], name: str = "heartbeat", every: float = EVERY) -> None:
        """Nothing is called before `start`."""
        self._calls, self._name, self._every = calls, name, every
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Call now and at regular intervals from now on; does nothing if already started."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._keep_beating, name=self._name, daemon=True)
            self._beat()
            self._thread.start()

    def stop(self) -> None:
        """End the thread, then call once more; does nothing if not started."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._thread = None
            self._beat()

    def _beat(self) -> None:
        for call in self._calls:
            with contextlib.suppress(OSError):
                call()

    def _keep_beating(self) -> None:
        while not self._stopped.wait(self._every):
            self._beat()


class Heartbeat:
    """Writes workers/NAME.json every few seconds until it is closed.

    Every record carries `state` (idle, running, ended), `units` in flight, the last of them to make progress as `unit`
    with its fields, and `progressed`, the time of that: a worker with fresh heartbeats but no progress hangs.  A full
    disk is not reported here, but when the worker writes its result.

    Args:
        run: the run directory.
        name: name of the worker.
        every: s between two records.
        fields: fields of all records.
    """

    def __init__(self, run: RunDirectory, name: str, every: float = EVERY, **fields: object) -> None:
        """Describe a worker; nothing is written before `start`."""
        self._run, self._name = run, name
        self._fields: dict[str, Any] = {"state": "idle", "unit": None, "progressed": time.time(), **fields}
        self._units: dict[str, dict[str, Any]] = {}  # the last is the one that made progress last
        self._busy, self._busy_since = 0.0, 0.0
        self._lock = threading.Lock()
        self._beats = Beats(self.write, name=f"heartbeat of {name}", every=every)

    def start(self) -> None:
        """Write a record now and at regular intervals from now on; does nothing if already started."""
        self._beats.start()

    def update(self, **fields: object) -> None:
        """Change fields of the next record; counts as progress."""
        with self._lock:
            self._fields.update(fields, progressed=time.time())

    def progress(self, unit: str, **fields: object) -> None:
        """Change fields of a unit in flight, which begins with its first call."""
        with self._lock:
            if not self._units:
                self._busy_since = time.perf_counter()
            self._units[unit] = {**self._units.pop(unit, {}), **fields}
            self._fields["progressed"] = time.time()

    def end(self, unit: str) -> None:
        """A unit is in flight no more."""
        with self._lock:
            if self._units.pop(unit, None) is not None and not self._units:
                self._busy += time.perf_counter() - self._busy_since
            self._fields["progressed"] = time.time()

    @property
    def busy_seconds(self) -> float:
        """Time with at least one unit in flight, s."""
        with self._lock:
            return self._busy + (time.perf_counter() - self._busy_since if self._units else 0.0)

    def write(self) -> None:
        """Write a record now."""
        with self._lock:
            record = {**self._fields, "units": list(self._units)}
            if self._units:
                unit = record["units"][-1]
                record |= {"state": "running", "unit": unit, **self._units[unit]}
        with contextlib.suppress(OSError):
            self._run.heartbeat(self._name, record)

    def close(self) -> None:
        """Stop; the last record states that the worker has ended."""
        self.update(state="ended", unit=None)
        self._beats.stop()
