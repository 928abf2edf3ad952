"""What the driver needs of a way to run units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.errors import InpaintHpcError

DONE, RAISED, DIED, LOST = "done", "raised", "died", "lost"


class ClusterError(InpaintHpcError):
    """The workers cannot be had: Ray does not start, or they end again and again.  The message is one line."""


@dataclass(frozen=True)
class Outcome:
    """What became of a unit that was handed out.

    Attributes:
        unit: the unit.
        kind: `done`; `raised`: the worker lives, but the unit as a whole raised; `died`: the worker's process ended;
            `lost`: the machinery around the worker broke, which says nothing about the unit.
        report: of a unit that is done.
        reason: one line, '' when done.
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
    """A worker as its executor sees it: `unit` is None while it starts or waits."""

    name: str
    pid: int | None
    device: str
    unit: WorkUnit | None
    details: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Workers that run units.  All methods are called from one thread."""

    def start(self) -> None:
        """Make the workers come up; may return before they have.

        Raises:
            ClusterError: they cannot be had.
            InputError: no such device, not a run directory ...
        """

    def idle(self) -> int:
        """How many units could be submitted now."""

    def submit(self, unit: WorkUnit) -> None:
        """Hand a unit to an idle worker.

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
        """Called from a signal handler: give up what blocks `wait`, if waiting means working."""

    def workers(self) -> Sequence[WorkerState]:
        """All workers."""

    def close(self) -> None:
        """End the workers and everything started for them, finished or not; may be called again."""


def shard_worker() -> type:
    """The worker of all campaigns; imported late, it needs torch."""
    from inpaint_hpc.campaign.worker import ShardWorker

    return ShardWorker


def one_line(text: object, limit: int = 500) -> str:
    """Text without line breaks, cut to a length that fits a log."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 4] + " ..."
