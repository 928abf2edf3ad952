"""Progress of a campaign, read from its run directory alone: from any shell, while it runs or afterwards."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.environment import process_exists
from inpaint_hpc.errors import InputError

from .result_checks import result_counts
from .run_directory import RunDirectory
from .work_units import UnitReport, WorkUnit

# Workers write a heartbeat every five seconds; a busy file system may delay a few of them.
ALIVE_SECONDS = 60.0
# Reports older than this are not used to estimate the present speed, s.
RECENT_SECONDS = 1800.0


@dataclass(frozen=True)
class WorkerStatus:
    """A worker as of its last heartbeat.

    Attributes:
        name, host, pid, device: identity of the worker.
        alive: the last heartbeat is at most `ALIVE_SECONDS` old and does not say that the worker ended.
        age: s since the last heartbeat.
        state: idle, running or ended.
        unit: unit it is running, of several the one that made progress last; None when idle.
        tasks, failed: since it started.
        samples_per_second: averaged over the time spent on units.
        units: all units it is running.
    """

    name: str
    host: str
    pid: int | None
    device: str
    alive: bool
    age: float
    state: str
    unit: str | None
    tasks: int
    failed: int
    samples_per_second: float
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """The state of a campaign.

    Attributes:
        path: the run directory.
        campaign: its id.
        created: when, ISO 8601.
        tasks, tasks_done, tasks_failed: all tasks; those with a result, including failed ones; those that failed.
        shards, shards_done: all shards; those completely done.
        samples: possible samples so far.
        invalid: impossible samples, discarded.
        taken_out, right: tasks whose guests had been taken out of a crystal, of those that workers reported; of these,
            those whose first candidate puts them back.
        cost_done: share of the estimated cost that is done, 0 to 1.
        samples_per_second: recent rate of all workers that are alive; 0 if none is.
        eta_seconds: remaining time at this rate; None if unknown.
        workers: all workers that ever worked on it, those alive first.
        drivers: last records of the drivers by name, each with `alive`.
        last_error: last known error, '' if none.
        last_error_time: when it occurred, s since 1970.
        failures: the last few failed units: unit, error, worker, time.
        collected: whether the archive exists.
        time: when this was read, s since 1970.
    """

    path: str
    campaign: str
    created: str
    tasks: int
    tasks_done: int
    tasks_failed: int
    shards: int
    shards_done: int
    samples: int
    invalid: int
    cost_done: float
    samples_per_second: float
    eta_seconds: float | None
    workers: tuple[WorkerStatus, ...] = ()
    drivers: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_error: str = ""
    last_error_time: float | None = None
    failures: tuple[dict[str, Any], ...] = ()
    collected: bool = False
    time: float = 0.0
    taken_out: int = 0
    right: int = 0

    @property
    def tasks_pending(self) -> int:
        """Tasks without a result."""
        return self.tasks - self.tasks_done

    @property
    def done(self) -> bool:
        """Whether every task has a result, which may be a failure."""
        return self.tasks_done == self.tasks

    @property
    def invalid_rate(self) -> float:
        """Impossible samples over samples drawn."""
        return self.invalid / max(self.samples + self.invalid, 1)

    @property
    def workers_alive(self) -> int:
        """Workers that gave a sign of life lately."""
        return sum(worker.alive for worker in self.workers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        more = ("tasks_pending", "done", "invalid_rate", "workers_alive")
        return {**asdict(self), **{name: getattr(self, name) for name in more}}


def read_status(run: RunDirectory | str | Path, now: float | None = None) -> Status:
    """The state of a campaign.

    Results are counted by the names of their files; numbers of samples and failures come from the workers' reports.

    Args:
        run: the run directory.
        now: time in s since 1970, by default the present.

    Raises:
        InputError: not a run directory, or damaged.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    now = time.time() if now is None else now
    units = run.result_units()
    _, n_tasks, costs = run.shards
    done = _covered(units, run.n_shards)
    reports = _reports_on(run, units)
    heartbeats = run.heartbeats()
    workers = [_worker(name, beat, now) for name, beat in heartbeats.items() if not name.startswith("driver")]
    workers.sort(key=lambda worker: (not worker.alive, worker.name))
    drivers = {
        name: {**beat, "alive": _is_alive(beat, now)} for name, beat in heartbeats.items() if name.startswith("driver")
    }
    failures = sorted((report for report in reports if report.failed), key=lambda report: report.time)
    last_error, error_time = _last_error(failures, heartbeats)
    cost_done = float((costs * done / n_tasks).sum() / costs.sum())
    alive = {worker.name for worker in workers if worker.alive}
    rate, eta = _pace(reports, alive, run, now, 1.0 - cost_done)
    return Status(
        path=str(run.path),
        campaign=run.id,
        created=run.info["created"],
        tasks=run.n_tasks,
        tasks_done=int(done.sum()),
        tasks_failed=sum(report.failed for report in reports),
        shards=run.n_shards,
        shards_done=int((done == n_tasks).sum()),
        samples=sum(report.samples for report in reports),
        invalid=sum(report.invalid for report in reports),
        cost_done=cost_done,
        samples_per_second=rate,
        eta_seconds=eta,
        workers=tuple(workers),
        drivers=drivers,
        last_error=last_error,
        last_error_time=error_time,
        failures=tuple(
            {"unit": str(r.unit), "failed": r.failed, "error": r.error, "worker": r.worker, "time": r.time}
            for r in reversed(failures[-5:])
        ),
        collected=run.archive_path.exists(),
        time=now,
        taken_out=sum(report.taken_out for report in reports),
        right=sum(report.right for report in reports),
    )


def _covered(units: Iterable[WorkUnit], n_shards: int) -> np.ndarray:
    """Tasks of each shard that have a result, int64 (n_shards,); units are sorted and may overlap."""
    covered = np.zeros(n_shards, dtype=np.int64)
    shard, position = -1, 0
    for unit in units:
        if unit.shard != shard:
            shard, position = unit.shard, 0
        covered[shard] += max(0, unit.stop - max(unit.start, position))
        position = max(position, unit.stop)
    return covered


def _reports_on(run: RunDirectory, units: list[WorkUnit]) -> list[UnitReport]:
    """Reports on finished units; one lost in a kill is made from the result file."""
    known = run.reports()
    found, covered = [], (-1, 0)
    for unit in sorted(units, key=lambda unit: (unit.shard, unit.start, -unit.stop)):
        if unit.shard == covered[0] and unit.stop <= covered[1]:
            continue  # part of a unit already counted
        covered = (unit.shard, unit.stop)
        if unit in known:
            found.append(known[unit])
            continue
        path = run.result_path(unit)
        try:
            found.append(UnitReport(unit, seconds=0.0, stages={}, worker="", **result_counts(path)))
        except InputError as error:
            found.append(UnitReport(unit, len(unit), 0, 0, 0, 0.0, {}, "", error=str(error)))
    return found


def _worker(name: str, beat: dict[str, Any], now: float) -> WorkerStatus:
    return WorkerStatus(
        name=name,
        host=str(beat.get("host", "")),
        pid=beat.get("pid"),
        device=str(beat.get("device", "")),
        alive=_is_alive(beat, now),
        age=max(0.0, now - float(beat.get("time", 0.0))),
        state=str(beat.get("state", "")),
        unit=beat.get("unit"),
        tasks=int(beat.get("tasks_done", 0)),
        failed=int(beat.get("failed", 0)),
        samples_per_second=float(beat.get("samples_per_second", 0.0)),
        units=tuple(beat.get("units") or filter(None, [beat.get("unit")])),
    )


def _is_alive(beat: dict[str, Any], now: float) -> bool:
    """Whether a worker or driver is alive: its heartbeat is recent and not final and, if here, its process exists."""
    said = str(beat.get("state") or beat.get("status") or "")
    if said in ("ended", "done", "failed") or said.startswith("stopped"):
        return False
    if now - float(beat.get("time", 0.0)) > ALIVE_SECONDS:
        return False
    if beat.get("host") != socket.gethostname() or not isinstance(beat.get("pid"), int):
        return True
    return process_exists(beat["pid"])


def _last_error(failures: list[UnitReport], heartbeats: dict[str, dict[str, Any]]) -> tuple[str, float | None]:
    candidates = [(report.time, f"unit {report.unit}: {report.error}") for report in failures]
    candidates += [
        (float(beat.get("time", 0.0)), f"{name}: {beat['last_error']}")
        for name, beat in heartbeats.items()
        if beat.get("last_error")
    ]
    if not candidates:
        return "", None
    when, error = max(candidates)
    return error, when


def _pace(
    reports: list[UnitReport], alive: set[str], run: RunDirectory, now: float, cost_left: float
) -> tuple[float, float | None]:
    """Samples per second and remaining seconds, from the recent work of the workers that are alive."""
    if cost_left <= 0.0:
        return 0.0, 0.0
    recent = [r for r in reports if r.worker in alive and r.seconds > 0.0 and now - r.time <= RECENT_SECONDS]
    if not recent:
        return 0.0, None
    _, n_tasks, costs = run.shards
    start = min(report.time - report.seconds for report in recent)
    span = max(now - start, 1e-3)
    cost = sum(costs[r.unit.shard] * len(r.unit) / n_tasks[r.unit.shard] for r in recent) / costs.sum()
    return sum(report.samples for report in recent) / span, float(cost_left / cost * span)
