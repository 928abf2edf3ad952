"""The driver: dispatches units to workers, retries and splits units that kill their worker, reports progress."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inpaint_hpc.campaign.heartbeat import Beats
from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.errors import InpaintHpcError, StorageError

from .driver_lock import DriverLock
from .driver_state import DriveReport, DriveState
from .executor import DIED, DONE, LOST, ClusterError, Executor, Outcome
from .inline_executor import Interrupted
from .processes import gpu_use, processor_use
from .shard_claims import EXPIRY, Claims
from .shard_sharing import Sharing
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from types import FrameType

    from inpaint_hpc.campaign.run_directory import RunDirectory

_POLL_SECONDS = 0.5
# How long to wait for units claimed by other drivers when no run-time estimate exists, s.
LINGER_SECONDS = 300.0

_LOG = logging.getLogger("inpaint_hpc.driver")


@dataclass(frozen=True)
class DriveOptions:
    """How a driver works.

    Attributes:
        stop_at: time (s since 1970) at which the workers will be lost.  Units not expected to end before it, judging by
            finished ones, are not dispatched.
        verify: read all results first, and redo those that are damaged.
        shards: only these; all by default.
        name: name of heartbeat, lock and log; drivers of different parts of a run need different ones.
        grace: time for units in flight to end when the driver is stopped, s.
        claim_timeout: s without a heartbeat of another driver after which its claims are void.
    """

    stop_at: float | None = None
    verify: bool = False
    shards: Collection[int] | None = None
    name: str = "driver"
    grace: float = 5.0
    claim_timeout: float = EXPIRY


def drive(
    run: RunDirectory,
    executor: Executor,
    progress: Callable[[DriveState], None] | None = None,
    options: DriveOptions | None = None,
) -> DriveReport:
    """Run all units of a campaign that are not done, on the workers of an executor, which is closed at the end.

    SIGINT and SIGTERM stop it within `grace`; a second one stops it at once.  Several drivers may work on one run: they
    claim the shards they are working on (shard_claims.py), and the results do not depend on which driver writes them;
    a second driver of the same name on one host is refused.

    Args:
        run: the campaign.
        executor: the workers; not started yet.
        progress: called about twice a second, and when a unit ends.
        options: how.

    Raises:
        StorageError: results cannot be written; finished results are kept.
        ClusterError: no workers can be started, or they die whatever they are given.
        InputError: another driver on this host is working on the run, or workers cannot load the frozen files.
    """
    return _Drive(run, executor, progress, options or DriveOptions()).run()


class _Drive:
    def __init__(
        self,
        directory: RunDirectory,
        executor: Executor,
        progress: Callable[[DriveState], None] | None,
        options: DriveOptions,
    ) -> None:
        self.directory, self.executor, self.progress, self.options = directory, executor, progress, options
        self.shards = None if options.shards is None else frozenset(options.shards)
        self.state = DriveState()
        self.pending = WorkQueue(self._cost)
        self.in_flight: dict[WorkUnit, float] = {}
        self.claims = Claims(directory.path, options.name, options.claim_timeout)
        self.sharing = Sharing(directory, self.claims, self.pending)
        self.deaths_in_a_row = 0
        self.cost_done = self.seconds_done = 0.0
        self.first_dispatch: float | None = None
        self.stopped = ""
        self.give_up_at: float | None = None
        self.starting = False
        self.fatal: InpaintHpcError | None = None
        self.record: dict[str, Any] = {}
        self.seen: dict[int, Any] = {}
        self.started = self.waiting_since = time.time()
        self.shown = 0.0
        self.journal = directory.log(options.name)

    def run(self) -> DriveReport:
        lock = DriverLock(self.directory.path / f"{self.options.name}.lock")
        alone = lock.acquire()
        if not alone:
            _LOG.warning("a driver on another host is also working on this run")
        self.claims.open(alone)
        try:
            self.directory.remove_leftovers()
            if self.options.verify:
                self._set_damaged_aside()
            self._find_pending()
            with self._heartbeats(lock), self._signals():
                try:
                    self._work()
                except Interrupted:
                    pass  # while the workers were starting; `stopped` has the reason
                finally:
                    try:
                        if self.first_dispatch is not None:
                            self._show()
                    finally:
                        self.executor.close()
            return DriveReport(self.state, self.stopped, sum(len(unit) for unit in self._units_without_result()))
        finally:
            self.claims.close()
            self.journal.close()
            lock.release()

    def _work(self) -> None:
        if not self.pending or self.stopped:
            return
        self.starting = True
        self._log("start", units=len(self.pending), tasks=self.state.tasks - self.state.tasks_done)
        self.executor.start()
        self.starting = False
        while self.pending and not self.stopped:
            done = self.state.units_done + self.state.isolated
            self._empty()
            if self.fatal is not None:
                self._log("stop", error=str(self.fatal))
                raise self.fatal
            if self.stopped:
                break
            # Normally nothing; but others can delete or damage results in the meantime.
            self._find_pending()
            if self.pending and self.state.units_done + self.state.isolated == done:
                raise ClusterError(f"{self.directory.path}: units that were done have no result files; is it writable?")
        self._log("stop", reason=self.stopped or "done", units=self.state.units_done, failed=self.state.failed)

    def _empty(self) -> None:
        """Work until nothing is pending or in flight, or until it is time to stop."""
        while self.pending or self.in_flight or self.sharing:
            if self.fatal is None and not self.stopped:
                self._reclaim()
                self._dispatch()
            elif not self.in_flight or (self.give_up_at is not None and time.time() > self.give_up_at):
                return
            if time.monotonic() - self.shown > _POLL_SECONDS:
                self._show()
            for outcome in self.executor.wait(_POLL_SECONDS):
                self._record_outcome(outcome)

    def _dispatch(self) -> None:
        while self.pending and self.executor.idle(len(self.pending) + len(self.in_flight)):
            unit = self.pending.pop(None if self.options.stop_at is None else self._affordable(self.options.stop_at))
            if unit is None:
                self._stop("time", self.options.stop_at)
                return
            if not self.sharing.claim(unit):
                self.sharing.release(unit.shard, self.in_flight)
                continue
            self.executor.submit(unit, alone=self.pending.attempts(unit) > 0)
            now = time.time()
            self.in_flight[unit] = now
            self.first_dispatch = self.first_dispatch or now

    def _reclaim(self) -> None:
        pace = self.seconds_done / self.cost_done if self.cost_done else None
        self.sharing.reclaim(lambda unit: None if pace is None else pace * self._cost(unit))
        now = time.time()
        if not self.sharing or self.pending or self.in_flight:
            self.waiting_since = now
        elif self.options.stop_at is not None and now > self.options.stop_at:
            self._stop("time", self.options.stop_at)
        elif pace is None and now - self.waiting_since > LINGER_SECONDS:
            self._stop("others", now)

    def _affordable(self, stop_at: float) -> float:
        """Largest cost that can finish before `stop_at`, allowing 1.5 times the expected time."""
        left = stop_at - time.time()
        if left <= 0:
            return -1.0
        return left * self.cost_done / self.seconds_done / 1.5 if self.seconds_done > 0 else float("inf")

    def _record_outcome(self, outcome: Outcome) -> None:
        unit = outcome.unit
        self.in_flight.pop(unit, None)
        if outcome.kind == DONE:
            assert outcome.report is not None
            self._take(unit, outcome.report)
            self.sharing.release(unit.shard, self.in_flight)
            return
        if not self.stopped:
            self._note(outcome)
        if outcome.kind == LOST or outcome.error is not None or self.stopped:
            self.pending.push(unit)
        else:
            self._died(outcome)
        if outcome.error is not None:
            self._fail(outcome.error)
        self.sharing.release(unit.shard, self.in_flight)

    def _take(self, unit: WorkUnit, report: UnitReport) -> None:
        self.deaths_in_a_row = 0
        self.state.units_done += 1
        self.state.samples += report.samples
        self.state.invalid += report.invalid
        self.state.failed += report.failed
        if not report.already_done:
            self.cost_done += self._cost(unit)
            self.seconds_done += report.seconds
        if report.failed:
            self.state.last_error = report.error
            _LOG.warning("unit %s: %d tasks failed, last: %s", unit, report.failed, report.error)

    def _died(self, outcome: Outcome) -> None:
        """Retry the unit; then split it; then record a single task as failed."""
        unit = outcome.unit
        self.state.deaths += 1
        self.deaths_in_a_row += 1
        queued = self.pending.died(unit)
        if queued is None:
            self._isolate(unit, outcome)
        elif len(queued) > 1:
            self._log("split", unit=str(unit), into=[str(part) for part in queued])
        if self.deaths_in_a_row >= 20 + 4 * len(self.executor.workers()):
            raise ClusterError(
                f"workers died {self.deaths_in_a_row} times in a row without finishing a unit, last: {outcome.reason}; "
                f"see {self.directory.path / 'logs'}"
            )

    def _isolate(self, unit: WorkUnit, outcome: Outcome) -> None:
        from inpaint_hpc.campaign.worker import fail_unit

        what = "killed its worker each time it was tried" if outcome.kind == DIED else "could not be run"
        error, attempts = f"{what}: {outcome.reason}", self.pending.attempts(unit)
        try:
            fail_unit(self.directory, unit, error, attempts)
        except StorageError as failure:
            self.pending.push(unit)
            self._fail(failure)
            return
        self.state.isolated += 1
        self.state.failed += 1
        self._log("isolated", unit=str(unit), error=error, attempts=attempts)
        _LOG.warning("unit %s recorded as failed: %s", unit, error)

    def _fail(self, error: InpaintHpcError) -> None:
        """Dispatch nothing more, and raise after the units in flight have had time to end."""
        self.fatal = self.fatal or error
        self.give_up_at = time.time() + self.options.grace

    # Bookkeeping

    def _find_pending(self) -> None:
        units = self._units_without_result()
        self.pending.fill(units)
        self.sharing.clear()
        shards = range(self.directory.n_shards) if self.shards is None else self.shards
        self.state.tasks = sum(self.directory.shard(shard)[1] for shard in shards)
        self._count_tasks()

    def _units_without_result(self) -> list[WorkUnit]:
        return [u for u in self.directory.pending_units() if self.shards is None or u.shard in self.shards]

    def _set_damaged_aside(self) -> None:
        for unit, problem in self.directory.damaged_units().items():
            if self.shards is None or unit.shard in self.shards:
                place = self.directory.set_aside(unit)
                self._log("damaged", unit=str(unit), error=problem, moved_to=str(place))
                _LOG.warning("unit %s will be computed again: %s", unit, problem)

    def _cost(self, unit: WorkUnit) -> float:
        _, n_tasks, cost = self.directory.shard(unit.shard)
        return cost * len(unit) / n_tasks

    def _count_tasks(self) -> None:
        left = self.pending.n_tasks + self.sharing.n_tasks + sum(map(len, self.in_flight))
        self.state.tasks_done = self.state.tasks - left

    # Reporting

    def _note(self, outcome: Outcome) -> None:
        self.state.last_error = outcome.reason
        self._log(outcome.kind, unit=str(outcome.unit), worker=outcome.worker, reason=outcome.reason)
        _LOG.warning("unit %s on %s: %s (%s)", outcome.unit, outcome.worker, outcome.kind, outcome.reason)

    def _log(self, event: str, **record: object) -> None:
        with contextlib.suppress(OSError):  # a full disk is reported when a result is written
            self.journal.append(event=event, **record)

    def _show(self) -> None:
        self.shown = time.monotonic()
        state, now = self.state, time.time()
        workers = self.executor.workers()
        state.in_flight, state.workers, state.seconds = len(self.in_flight), len(workers), now - self.started
        state.elsewhere = len(self.sharing)
        state.units_left = len(self.pending) + len(self.in_flight) + state.elsewhere
        self._count_tasks()
        if self.first_dispatch is not None:
            elapsed = max(now - self.first_dispatch, 1e-3)
            state.samples_per_second = state.samples / elapsed
            if self.cost_done > 0:
                left = self.pending.total_cost + sum(map(self._cost, self.in_flight))
                state.eta_seconds = left * elapsed / self.cost_done
        state.cores = processor_use((w.pid for w in workers if w.pid is not None), self.seen)
        if any(worker.device != "cpu" for worker in workers):
            state.gpu_percent = gpu_use()
        self._write_record("stopping" if self.stopped or self.fatal else "running")
        if self.progress is not None:
            self.progress(state)

    def _write_record(self, status: str) -> None:
        """Set the record that the heartbeat writes."""
        self.record = {
            "status": status,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self.started,
            **vars(self.state),
            "units_in_flight": {str(unit): since for unit, since in list(self.in_flight.items())},
        }

    @contextlib.contextmanager
    def _heartbeats(self, lock: DriverLock) -> Iterator[None]:
        """Write NAME.json every few seconds, and its final state at the end."""
        beats = Beats(lambda: self.directory.heartbeat(self.options.name, self.record), lock.refresh, self.claims.beat)
        self._write_record("starting")
        beats.start()
        status = "failed"
        try:
            yield
            status = f"stopped by {self.stopped}" if self.stopped else "done"
        except BaseException as error:
            self.state.last_error = str(error) or type(error).__name__
            raise
        finally:
            self.state.in_flight = 0
            self.in_flight.clear()
            self._write_record(status)
            beats.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM stops the driver, the second one interrupts it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self._stop(signal.Signals(number).name, time.time() + self.options.grace)
            if self.starting:
                raise Interrupted
            self.executor.interrupt()

        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _stop(self, reason: str, give_up_at: float | None) -> None:
        self.stopped, self.give_up_at = reason, give_up_at
