"""Submits a campaign to SLURM, submits missing jobs, cancels jobs."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc._version import __version__
from inpaint_hpc.campaign.slurm_settings import SlurmSettings
from inpaint_hpc.errors import InputError

from .allocation import Allocation
from .collect_job import CollectJob
from .commands import DEFAULT_ARRAY, accounts, largest_array, partitions, slurm, unreachable
from .job import AllocationJob
from .job_states import Poll, poll
from .sbatch import sbatch, script
from .submissions import COLLECT, RUN, Submission, record, submissions

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory

# Who makes the archive: the allocation that finishes last, a job after all of them, or none.
BY_JOB, AFTER, NEVER = "job", "after", "never"


@dataclass(frozen=True)
class SubmissionPlan:
    """What would be submitted.

    Attributes:
        allocations: jobs that share what is left.
        arrays: number of elements in each call of sbatch; 1 is a single job.
        tasks_left, shards_left: what remains to be done.
        scripts: distinct scripts of the calls of sbatch.
        problem: why SLURM could not be asked whether partition and account exist, in one line; '' when it could.
    """

    allocations: int
    arrays: tuple[int, ...]
    tasks_left: int
    shards_left: int
    scripts: tuple[str, ...]
    problem: str = ""


def submit_run(
    run: RunDirectory,
    settings: SlurmSettings,
    collect: str = BY_JOB,
    factory: Callable[..., Any] | None = None,
    missing: bool = False,
) -> list[Submission]:
    """Submit allocations for what is left of a campaign.

    Args:
        run: the campaign.
        settings: what to request.
        collect: who makes the archive, `BY_JOB`, `AFTER` or `NEVER`.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.
        missing: if jobs of this run are pending or running, submit only as many as are missing; by default such
            jobs are a reason to refuse.

    Returns:
        What was submitted; nothing if `missing` and enough jobs are pending or running.

    Raises:
        InputError: nothing is left to do, jobs of this run are already pending or running, there is no SLURM here, or
            SLURM refuses the request.
        OSError: the run directory cannot be written.
    """
    units = _units_left(run)
    living = [state for state in _poll(run, RUN).living]
    if living and not missing:
        raise InputError(
            f"{run.path}: job {living[0].job} is {living[0].state.lower()}; watch it with `inpaint-hpc status`, end it "
            f"with `inpaint-hpc cancel {run.path}`, or submit missing jobs with `inpaint-hpc resume {run.path}`"
        )
    count = min(settings.allocations, len(units)) - len(living)
    if count <= 0:
        return []
    _require_known(settings)
    sent: list[Submission] = []
    call = AllocationJob(_allocation(run, settings, collect == BY_JOB, factory))
    for size in _arrays(count, largest_array() if count > 1 else 1):
        # Arrays beyond the first exist only where the largest array is smaller than the campaign wants.
        dependency = f"afterany:{sent[-1].job}" if sent and settings.array_parallelism else ""
        sent.append(_send(run, settings, [call] * size, RUN, dependency))
    if collect == AFTER:
        for former in _poll(run, COLLECT).living:  # it would not wait for the new ones
            slurm("scancel", former.job)
        after = [submission.job for submission in sent] + [state.job for state in living]
        dependency = f"afterany:{':'.join(after)}"
        sent.append(_send(run, collect_settings(settings), [CollectJob(str(run.path.resolve()))], COLLECT, dependency))
    return sent


def plan_submission(
    run: RunDirectory, settings: SlurmSettings, collect: str = BY_JOB, path: Path | None = None
) -> SubmissionPlan:
    """What `submit_run` would submit; nothing is submitted or written, and no SLURM is needed.

    Args:
        run: the campaign.
        settings, collect: as for `submit_run`.
        path: future path of the run directory; by default its present path.

    Raises:
        InputError: nothing is left to do, or no such partition or account.
    """
    units = _units_left(run)
    problem = unreachable()
    if not problem:
        _require_known(settings)
    path = path or run.path
    count = min(settings.allocations, len(units))
    arrays = _arrays(count, DEFAULT_ARRAY if problem else largest_array())
    scripts = [script(path, settings, size) for size in dict.fromkeys(arrays)]
    if collect == AFTER:
        scripts.append(script(path, collect_settings(settings), 1, "afterany:JOB"))
    return SubmissionPlan(
        count, arrays, sum(map(len, units)), len({unit.shard for unit in units}), tuple(scripts), problem
    )


def collect_settings(settings: SlurmSettings) -> SlurmSettings:
    """What the job that makes the archive requests: one processor of one node in the same partition."""
    small = {"nodes": 1, "allocations": 1, "gpus_per_node": None, "gres": None, "exclusive": False, "cpus_per_task": 1}
    return settings.model_copy(update=small)


def last_settings(run: RunDirectory) -> SlurmSettings | None:
    """What was requested when allocations of a run were last submitted; None if there was no submission."""
    sent = [submission for submission in submissions(run) if submission.kind == RUN]
    return SlurmSettings.model_validate(sent[-1].settings) if sent else None


def states_of(run: RunDirectory) -> Poll:
    """States of all jobs of a run by id, oldest first.  Never raises or hangs."""
    return poll([job for submission in submissions(run) for job in submission.jobs], run.path)


def cancel_run(run: RunDirectory) -> list[str]:
    """Cancel all pending and running jobs of a run; returns their ids.  Written results are kept.

    Raises:
        InputError: no SLURM here.
        SlurmError: SLURM does not answer or refuses.
    """
    slurm("scancel", "--version")
    living = [state.job for state in states_of(run).living]
    if living:
        slurm("scancel", *living, timeout=60.0)
    return living


def _poll(run: RunDirectory, kind: str) -> Poll:
    jobs = [job for submission in submissions(run) if submission.kind == kind for job in submission.jobs]
    return poll(jobs, run.path)


def _send(
    run: RunDirectory, settings: SlurmSettings, calls: list[Callable[[], Any]], kind: str, dependency: str
) -> Submission:
    job = sbatch(run.path, settings, calls, dependency)
    elements = len(calls) if len(calls) > 1 else 0
    asked = settings.model_dump(exclude_none=True)
    submission = Submission(job, time.time(), socket.gethostname(), asked, elements, kind)
    record(run, submission)
    return submission


def _arrays(count: int, largest: int) -> tuple[int, ...]:
    """Number of elements of each array, as equal as possible and within the limit of the cluster."""
    number = math.ceil(count / largest)
    size, more = divmod(count, number)
    return tuple(size + (index < more) for index in range(number))


def _units_left(run: RunDirectory) -> list[Any]:
    units = run.pending_units()
    if not units:
        raise InputError(f"{run.path}: all tasks are done; `inpaint-hpc collect {run.path}` makes the archive")
    return units


def _require_known(settings: SlurmSettings) -> None:
    for what, name, known in (
        ("partition", settings.partition, partitions),
        ("account", settings.account, accounts),
    ):
        if name is None or not (names := known()):
            continue
        missing = [part for part in name.split(",") if part not in names]
        if missing:
            raise InputError(f"no {what} '{missing[0]}'; choose from {', '.join(names)}")


def _allocation(
    run: RunDirectory, settings: SlurmSettings, collect: bool, factory: Callable[..., Any] | None
) -> Allocation:
    return Allocation(
        run_path=str(run.path.resolve()),
        version=__version__,
        actors=settings.actors,
        threads=settings.threads,
        device=settings.device,
        # Time to write the results before SLURM's warning, which may come a little early.
        warning_seconds=settings.warning_seconds + min(10, settings.time * 5),
        head_timeout=settings.head_timeout,
        claim_timeout=settings.claim_timeout,
        collect=collect,
        factory=factory,
    )
