"""The queue of pending units, and the handling of units that kill their worker."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable

from inpaint_hpc.campaign.work_units import WorkUnit

DEATHS_BEFORE_SPLIT = 2
DEATHS_OF_A_TASK = 3


class WorkQueue:
    """Pending units, most expensive first, so that a campaign does not end on its largest unit.

    Args:
        cost: gives the cost of a unit.
    """

    def __init__(self, cost: Callable[[WorkUnit], float]) -> None:
        """Begin without units."""
        self._cost = cost
        self._entries: list[tuple[float, WorkUnit]] = []  # ascending: the next unit is the last
        self._in_shard: Counter[int] = Counter()
        self._deaths: Counter[WorkUnit] = Counter()
        self._attempts: Counter[WorkUnit] = Counter()

    def __len__(self) -> int:
        """Number of pending units."""
        return len(self._entries)

    @property
    def n_tasks(self) -> int:
        """Tasks in all pending units."""
        return sum(len(unit) for _, unit in self._entries)

    def has(self, shard: int) -> bool:
        """Whether a unit of a shard is pending."""
        return self._in_shard[shard] > 0

    @property
    def total_cost(self) -> float:
        """Total cost of all pending units."""
        return sum(cost for cost, _ in self._entries)

    def fill(self, units: Iterable[WorkUnit]) -> None:
        """Replace the pending units by these; deaths are not forgotten."""
        self._entries = sorted((self._cost(unit), unit) for unit in units)
        self._in_shard = Counter(unit.shard for _, unit in self._entries)

    def push(self, unit: WorkUnit) -> None:
        """Add a unit to be run (again)."""
        bisect.insort(self._entries, (self._cost(unit), unit))
        self._in_shard[unit.shard] += 1

    def take_out(self, shard: int) -> list[WorkUnit]:
        """Remove all units of a shard from the queue and return them."""
        if not self.has(shard):
            return []
        taken = [unit for _, unit in self._entries if unit.shard == shard]
        self._entries = [entry for entry in self._entries if entry[1].shard != shard]
        del self._in_shard[shard]
        return taken

    def pop(self, most: float | None = None) -> WorkUnit | None:
        """Remove and return the most expensive unit, of cost at most `most`; None if there is none."""
        position = len(self._entries)
        if most is not None:
            position = bisect.bisect_right(self._entries, most, key=lambda entry: entry[0])
        if not position:
            return None
        unit = self._entries.pop(position - 1)[1]
        self._in_shard[unit.shard] -= 1
        return unit

    def died(self, unit: WorkUnit) -> tuple[WorkUnit, ...] | None:
        """Record that a worker died running a unit.

        Returns:
            What was queued again: the unit itself or its halves; None for a single task that has killed its worker
            often enough to be given up.
        """
        self._deaths[unit] += 1
        self._attempts[unit] += 1
        queued: tuple[WorkUnit, ...] = (unit,)
        if len(unit) == 1 and self._deaths[unit] >= DEATHS_OF_A_TASK:
            return None
        if len(unit) > 1 and self._deaths[unit] >= DEATHS_BEFORE_SPLIT:
            queued = unit.halves()
            for half in queued:
                # The whole has died twice: a half that dies too is split at once, but a single task gets all attempts.
                self._deaths[half] = DEATHS_BEFORE_SPLIT - 1 if len(half) > 1 else 0
                self._attempts[half] = self._attempts[unit]
        for part in queued:
            self.push(part)
        return queued

    def attempts(self, unit: WorkUnit) -> int:
        """Deaths of workers running these tasks, including as part of larger units."""
        return self._attempts[unit]
