"""Heartbeats of a driver, written by a separate thread, even while the driver itself runs a unit."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from inpaint_hpc.campaign.run_directory import RunDirectory

HEARTBEAT_SECONDS = 5.0


class DriverHeartbeat:
    """Writes RUN/NAME.json every few seconds.

    Args:
        run: the run directory.
        name: name of the driver.
        also: called with each heartbeat.

    Attributes:
        record: what is written.
    """

    def __init__(self, run: RunDirectory, name: str, *also: Callable[[], None]) -> None:
        """Prepare the thread, which begins with `start`."""
        self._run, self._name, self._also = run, name, also
        self.record: dict[str, Any] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write a heartbeat now and at regular intervals from now on."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop, with `record` as the last heartbeat."""
        self._ended.set()
        self._thread.join()
        self._beat()

    def _beat(self) -> None:
        with contextlib.suppress(OSError):  # a full disk is reported when a result is written
            self._run.heartbeat(self._name, self.record)
        for tell in self._also:
            tell()

    def _keep_beating(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._beat()
