"""The interface between the driver and the workers that run units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.errors import InpaintHpcError

DONE, RAISED, DIED, LOST = "done", "raised", "died", "lost"


class ClusterError(InpaintHpcError):
    """No workers: Ray does not start, or workers keep dying.  The message is one line."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a dispatched unit.

    Attributes:
        unit: the unit.
        kind: `done`; `raised`: the worker is alive, but the unit as a whole raised; `died`: the worker's process ended;
            `lost`: the infrastructure around the worker failed, through no fault of the unit.
        report: report on a unit that is done.
        reason: one line; '' when done.
        worker: name of the worker.
        error: an error after which no other unit can succeed: `StorageError`, `InputError`.
    """

    unit: WorkUnit
    kind: str
    report: UnitReport | None = None
    reason: str = ""
    worker: str = ""
    error: InpaintHpcError | None = None


@dataclass(frozen=True)
class WorkerState:
    """A worker as its executor sees it: no `units` while it starts or waits."""

    name: str
    pid: int | None
    device: str
    units: tuple[WorkUnit, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Workers that run units.  All methods are called from one thread."""

    def start(self) -> None:
        """Start the workers; may return before they are ready.

        Raises:
            ClusterError: they cannot be started.
            InputError: no such device, not a run directory ...
        """

    def idle(self, left: int | None = None) -> int:
        """Number of units that could be submitted now.

        Args:
            left: all units that are pending or in flight, of which no worker gets more than its share: the first to be
                up would otherwise take all of a small campaign, or of the end of a large one.
        """

    def submit(self, unit: WorkUnit, alone: bool = False) -> None:
        """Give a unit to an idle worker.

        Args:
            unit: the unit.
            alone: nothing else may run in that worker meanwhile, so that it is known what ends it.

        Raises:
            RuntimeError: no worker is idle.
        """

    def wait(self, timeout: float) -> list[Outcome]:
        """Units that ended; waits for the first of them, but at most about `timeout` seconds.

        Dead workers are replaced.

        Raises:
            ClusterError, InputError: workers cannot be replaced.
        """

    def interrupt(self) -> None:
        """Called from a signal handler: abandon the unit if `wait` itself is running it."""

    def workers(self) -> Sequence[WorkerState]:
        """All workers."""

    def close(self) -> None:
        """Stop the workers and everything started for them, finished or not; may be called again."""


def shard_worker() -> type:
    """The worker class of all campaigns; imported late because it needs torch."""
    from inpaint_hpc.campaign.worker import ShardWorker

    return ShardWorker


def worker_factory(factory: Callable[..., Any] | None, analysis: int) -> Callable[..., Any] | None:
    """What makes a worker from (run_path, device, threads, name), as executors take it.

    Args:
        factory: the maker; None makes a `ShardWorker`.
        analysis: processes for the analysis beside a `ShardWorker`.
    """
    return factory if factory is not None or not analysis else partial(_shard_worker, analysis=analysis)


def _shard_worker(*arguments: Any, analysis: int) -> Any:
    return shard_worker()(*arguments, analysis=analysis)


def one_line(text: object, limit: int = 500) -> str:
    """Text without line breaks, cut to a length that fits a log."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 4] + " ..."
