"""Units of work: what a driver dispatches to a worker, and the worker's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, order=True)
class WorkUnit:
    """Tasks `start` to `stop - 1` of a shard.

    Units sort by shard, then start.  `RunDirectory.unit` and `pending_units` mark those that are whole shards.

    Attributes:
        shard: number of the shard.
        start: first task within the shard.
        stop: one past the last task within the shard.
        whole: whether it is a whole shard; only for printing, and ignored in comparisons.
    """

    shard: int
    start: int
    stop: int
    whole: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a range without tasks."""
        if not (self.shard >= 0 and 0 <= self.start < self.stop):
            raise ValueError(f"no such unit: shard {self.shard}, tasks {self.start} to {self.stop - 1}")

    def __len__(self) -> int:
        """Number of tasks."""
        return self.stop - self.start

    def __str__(self) -> str:
        """The name in messages: the shard, with the range if it is a part of one."""
        return str(self.shard) if self.whole else f"{self.shard}.{self.start}-{self.stop}"

    def halves(self) -> tuple[WorkUnit, WorkUnit]:
        """Split the unit in two, to find the task that kills its worker.

        Raises:
            ValueError: a unit of one task.
        """
        if len(self) < 2:
            raise ValueError(f"unit {self} has one task and no halves")
        middle = (self.start + self.stop) // 2
        return WorkUnit(self.shard, self.start, middle), WorkUnit(self.shard, middle, self.stop)


@dataclass(frozen=True)
class UnitReport:
    """What a finished unit cost and produced.

    Attributes:
        unit: the unit.
        tasks: tasks in it, failed ones included.
        samples: possible samples kept.
        invalid: impossible samples discarded.
        failed: tasks recorded as failed.
        taken_out, right: tasks whose guests had been taken out of a crystal; of these, those whose first candidate puts
            them back.
        seconds: wall time of the unit.
        stages: wall time in s by stage (`sample`, `deduplicate`, `score`, `write` ...).
        worker: name of the worker.
        time: when it was done, s since 1970.
        error: last line of the error of the last failed task, '' without failures.
        already_done: the result existed already and nothing was run; `seconds` is then 0.
    """

    unit: WorkUnit
    tasks: int
    samples: int
    invalid: int
    failed: int
    seconds: float
    stages: Mapping[str, float]
    worker: str
    time: float = 0.0
    error: str = ""
    already_done: bool = False
    taken_out: int = 0
    right: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> UnitReport:
        """From `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: not such a dictionary.
        """
        return cls(**{**data, "unit": WorkUnit(**data["unit"])})
