"""Several drivers on one run: which units to run now, and which are claimed by others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from inpaint_hpc.campaign.work_units import WorkUnit

from .shard_claims import Claims
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory

_LOOK_SECONDS = 3.0
# Shards of another driver are taken over if it needs SLOW times as long as expected, and at least SLOW_SECONDS.
SLOW, SLOW_SECONDS = 3.0, 60.0


class Sharing:
    """Moves units between the queue of a driver and the set claimed by other drivers.

    Args:
        run: the campaign.
        claims: claims of this driver.
        queue: its pending units.
    """

    def __init__(self, run: RunDirectory, claims: Claims, queue: WorkQueue) -> None:
        """Begin with nothing claimed by others."""
        self._run, self._claims, self._queue = run, claims, queue
        self._elsewhere: dict[int, list[WorkUnit]] = {}
        self._looked = 0.0

    def __len__(self) -> int:
        """Number of units claimed by others."""
        return sum(map(len, self._elsewhere.values()))

    @property
    def n_tasks(self) -> int:
        """Tasks in the units claimed by others."""
        return sum(len(unit) for units in self._elsewhere.values() for unit in units)

    def clear(self) -> None:
        """Forget the units claimed by others."""
        self._elsewhere.clear()

    def claim(self, unit: WorkUnit) -> bool:
        """Claim a unit that was popped from the queue; whether it should be run now.

        If not, it is already done, or claimed by another driver, or the rest of its shard is back in the queue.
        """
        shard, queue = unit.shard, self._queue
        if shard in self._claims.mine:
            return not self._has_result(unit)
        if not self._claims.take(shard):
            self._elsewhere.setdefault(shard, []).extend([unit, *queue.take_out(shard)])
            return False
        # Others may have done all or part of it in the meantime.
        queue.take_out(shard)
        left = self._run.pending_in(shard)
        for part in left:
            if part != unit:
                queue.push(part)
        return unit in left

    def release(self, shard: int, in_flight: Iterable[WorkUnit]) -> None:
        """Release a claim once none of its shard is queued or in flight here."""
        if not self._queue.has(shard) and not any(unit.shard == shard for unit in in_flight):
            self._claims.release(shard)

    def reclaim(self, expected: Callable[[WorkUnit], float | None]) -> None:
        """Queue units whose driver released them, died, or is much too slow.  Checks only every few seconds.

        Args:
            expected: time a unit would take here, s; None while unknown.
        """
        if not self._elsewhere or time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        claimed = self._claims.all()
        for shard in list(self._elsewhere):
            if shard in claimed and self._claims.holder(shard) is not None:
                if not self._is_slow(shard, expected):
                    continue
                self._claims.steal(shard)
            del self._elsewhere[shard]
            for unit in self._run.pending_in(shard):
                self._queue.push(unit)

    def _is_slow(self, shard: int, expected: Callable[[WorkUnit], float | None]) -> bool:
        total = 0.0
        for unit in self._elsewhere[shard]:
            seconds = expected(unit)
            if seconds is None:
                return False
            total += seconds
        return self._claims.held_for(shard) > max(SLOW_SECONDS, SLOW * total)

    def _has_result(self, unit: WorkUnit) -> bool:
        try:
            return self._run.result_path(unit).stat().st_size > 0
        except OSError:
            return False
