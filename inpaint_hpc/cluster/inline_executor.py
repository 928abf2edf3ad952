"""Run units in this process: for debugging, for machines without Ray, and to measure Ray's overhead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inpaint_hpc.campaign.work_units import WorkUnit
from inpaint_hpc.errors import InputError, StorageError

from .executor import DONE, LOST, RAISED, Outcome, WorkerState, one_line, shard_worker


class Interrupted(KeyboardInterrupt):
    """Abandons a unit half way; not caught by `except Exception`."""


class InlineExecutor:
    """One worker in this process.

    Args:
        run_path: the run directory.
        device: torch device.
        threads: torch threads; None leaves them as they are.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.
    """

    def __init__(
        self,
        run_path: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        factory: Callable[..., Any] | None = None,
    ) -> None:
        """Note what the worker is made from, in `start`."""
        self._arguments = (str(run_path), device, threads, "inline")
        self._factory = factory
        self._device = device
        self._worker: Any = None
        self._unit: WorkUnit | None = None
        self._running = False

    def start(self) -> None:
        """Load the networks.

        Raises:
            InputError: as the worker.
        """
        self._worker = (self._factory or shard_worker())(*self._arguments)

    def idle(self, left: int | None = None) -> int:
        """1 unless a unit was submitted."""
        return int(self._unit is None)

    def submit(self, unit: WorkUnit, alone: bool = True) -> None:
        """Keep the unit for `wait`."""
        if self._unit is not None:
            raise RuntimeError("the worker is busy")
        self._unit = unit

    def wait(self, timeout: float) -> list[Outcome]:
        """Run the unit that was submitted, however long it takes."""
        if self._unit is None:
            return []
        unit, self._unit = self._unit, None
        try:
            self._running = True
            report = self._worker.run_unit(unit)
            self._running = False
        except Interrupted:
            return [Outcome(unit, LOST, reason="interrupted", worker="inline")]
        except (StorageError, InputError) as error:
            return [Outcome(unit, RAISED, reason=one_line(error), worker="inline", error=error)]
        except Exception as error:
            return [Outcome(unit, RAISED, reason=one_line(f"{type(error).__name__}: {error}"), worker="inline")]
        finally:
            self._running = False
        return [Outcome(unit, DONE, report, worker="inline")]

    def interrupt(self) -> None:
        """Abandon the unit that `wait` is running."""
        if self._running:
            self._running = False
            raise Interrupted

    def workers(self) -> list[WorkerState]:
        """This process."""
        return [WorkerState("inline", os.getpid(), self._device, () if self._unit is None else (self._unit,))]

    def close(self) -> None:
        """Close the worker."""
        if self._worker is not None and hasattr(self._worker, "close"):
            self._worker.close()
        self._worker = None
