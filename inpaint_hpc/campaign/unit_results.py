"""Writes the result of a unit and reports on it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.write import check_record, write_result
from inpaint_hpc.errors import StorageError

from .result_checks import result_counts
from .run_directory import RunDirectory
from .task_records import failed_record, with_error
from .work_units import UnitReport, WorkUnit

_ADVICE = {
    errno.ENOSPC: "free space on the disk",
    errno.EDQUOT: "free space, your quota is used up",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}


def write_unit(run: RunDirectory, unit: WorkUnit, records: list[TaskRecord]) -> list[TaskRecord]:
    """Write the result file of a unit atomically; returns the records as written.

    A record with invalid values is written as failed.

    Raises:
        StorageError: it cannot be written.
    """
    path = run.result_path(unit)
    attributes = {
        "campaign": run.id,
        "configuration": {name: run.info[name] for name in ("sampling", "pipeline")},
        "weights_name": run.info["weights"]["name"],
        "weights_sha256": run.info["weights"]["sha256"],
        "versions": run.info["versions"],
        "unit": str(unit),
    }
    with _storage(path):
        try:
            write_result(path, records, attributes)
        except ValueError:
            records = [_sound(record) for record in records]
            write_result(path, records, attributes)
    return records


def _sound(record: TaskRecord) -> TaskRecord:
    try:
        check_record(record)
    except ValueError as error:
        return with_error(record, str(error))
    return record


def fail_unit(run: RunDirectory, unit: WorkUnit, error: str, attempts: int, worker: str = "driver") -> UnitReport:
    """Record all tasks of a unit as failed: for tasks that kill their process and so cannot do so themselves.

    Needs no network.

    Args:
        run: the run directory.
        unit: the unit, usually of one task.
        error: what happened, one line.
        attempts: how often it was tried, at least 1.
        worker: name of who records this.

    Raises:
        StorageError: as `run_unit`.
    """
    start = time.perf_counter()
    records = [failed_record(task, error, "", attempts, worker) for task in run.tasks(run.rows(unit))]
    records = write_unit(run, unit, records)
    report = unit_report(unit, records, time.perf_counter() - start, worker, {})
    journal = run.report_journal(worker)
    with contextlib.suppress(OSError):
        journal.append(**report.as_dict())
    journal.close()
    return report


def unit_report(
    unit: WorkUnit, records: Sequence[TaskRecord], seconds: float, worker: str, stages: dict[str, float]
) -> UnitReport:
    """The report on a unit.

    Args:
        unit: the unit.
        records: its records.
        seconds: wall time.
        worker: name of the worker.
        stages: wall time in s of stages that are not in the records.
    """
    spent = Counter(stages)
    for record in records:
        spent.update(record.seconds)
    valid = sum(record.n_valid for record in records)
    errors = [record.error for record in records if record.failed]
    taken_out = [record for record in records if record.reference_frac_coords is not None and len(record.host)]
    return UnitReport(
        unit=unit,
        tasks=len(records),
        samples=valid,
        invalid=sum(len(record.samples) for record in records) - valid,
        failed=len(errors),
        seconds=round(seconds, 3),
        stages={stage: round(value, 3) for stage, value in spent.items()},
        worker=worker,
        time=time.time(),
        error=errors[-1] if errors else "",
        taken_out=len(taken_out),
        right=sum(map(_puts_back, taken_out)),
    )


def _puts_back(record: TaskRecord) -> bool:
    """Whether the first candidate has the guests where they had been taken out."""
    if record.reference_tolerance is None or not len(record.candidates):
        return False
    distance = record.candidates[0].reference_distance
    return distance is not None and distance <= record.reference_tolerance


def done_report(unit: WorkUnit, path: Path, worker: str) -> UnitReport:
    """The report on a unit whose result exists already."""
    return UnitReport(
        unit=unit, seconds=0.0, stages={}, worker=worker, time=time.time(), already_done=True, **result_counts(path)
    )


def require_writable(folder: Path) -> None:
    """Make a folder and check that it is writable: better to fail before the work than after it.

    Raises:
        StorageError: it cannot.
    """
    with _storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "fix the cause")
        raise StorageError(
            f"{path}: cannot be written ({why}); {advice}, then continue with `inpaint-hpc resume`"
        ) from error
