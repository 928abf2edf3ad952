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
from .commands import DEFAULT_ARRAY, SlurmError, accounts, largest_array, partitions, slurm, unreachable
from .job import AllocationJob
from .job_states import JobState, Poll, poll
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
        SlurmError: SLURM does not say whether jobs of this run are pending or running.
        OSError: the run directory cannot be written.
    """
    units = _units_left(run)
    found = states_of(run, RUN)
    living = found.living
    if living and not missing:
        raise InputError(
            f"{run.path}: job {living[0].job} is {living[0].state.lower()}; watch it with `inpaint-hpc status`, end it "
            f"with `inpaint-hpc cancel {run.path}`, or submit missing jobs with `inpaint-hpc resume {run.path}`"
        )
    count = min(settings.allocations, len(units)) - len(living)
    if count <= 0:
        return []
    if found.problem:
        raise SlurmError(f"{found.problem}; until SLURM says that no job of this run is left, none is added")
    _require_known(settings)
    sent: list[Submission] = []
    call = AllocationJob(_allocation(run, settings, collect == BY_JOB, factory))
    for size in _arrays(count, largest_array(settings.clusters) if count > 1 else 1):
        # Arrays beyond the first exist only where the largest array is smaller than the campaign wants.
        dependency = f"afterany:{sent[-1].job}" if sent and settings.array_parallelism else ""
        sent.append(_send(run, settings, [call] * size, RUN, dependency))
        # Jobs can wait only for jobs of the same cluster.
        settings = settings.on_cluster(sent[-1].cluster)
    if collect == AFTER:
        _cancel(states_of(run, COLLECT).living)  # they would not wait for the new ones
        after = [submission.job for submission in sent]
        after += [state.job for state in living if state.cluster == sent[-1].cluster]
        dependency = f"afterany:{':'.join(after)}"
        sent.append(_send(run, collect_settings(settings), [CollectJob(str(run.path.resolve()))], COLLECT, dependency))
    return sent


def require_possible(settings: SlurmSettings) -> None:
    """Refuse a request before anything is written for it.

    Raises:
        InputError: there is no SLURM here, or no such partition or account.
        SlurmError: sbatch does not work here.
    """
    slurm("sbatch", "--version")
    _require_known(settings)


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
    problem = unreachable(settings.clusters)
    if not problem:
        _require_known(settings)
    path = path or run.path
    count = min(settings.allocations, len(units))
    arrays = _arrays(count, DEFAULT_ARRAY if problem else largest_array(settings.clusters))
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


def states_of(run: RunDirectory, kind: str | None = None) -> Poll:
    """States of all jobs of a run, or of one kind, by id, oldest first.  Never raises or hangs."""
    sent = [submission for submission in submissions(run) if kind in (None, submission.kind)]
    polls = {
        cluster: poll([job for one in sent if one.cluster == cluster for job in one.jobs], run.path, cluster)
        for cluster in dict.fromkeys(submission.cluster for submission in sent)
    }
    states: dict[str, JobState] = {}
    for submission in sent:
        for job in submission.jobs:
            # Two clusters may give the same number; one that is alive must not be hidden.
            if job not in states or not states[job].living:
                states[job] = polls[submission.cluster].states[job]
    return Poll(states, "; ".join(dict.fromkeys(found.problem for found in polls.values() if found.problem)))


def cancel_run(run: RunDirectory) -> list[str]:
    """Cancel all pending and running jobs of a run; returns their ids.  Written results are kept.

    Raises:
        InputError: no SLURM here.
        SlurmError: SLURM does not answer or refuses.
    """
    slurm("scancel", "--version")
    found = states_of(run)
    _cancel(found.living)
    if found.problem and not found.living:
        raise SlurmError(f"{found.problem}; whether jobs of {run.path} are pending or running is unknown")
    return [state.job for state in found.living]


def _cancel(jobs: list[JobState]) -> None:
    """Cancel jobs, each on its own cluster."""
    for cluster in dict.fromkeys(job.cluster for job in jobs):
        slurm("scancel", *(job.job for job in jobs if job.cluster == cluster), timeout=60.0, clusters=cluster)


def _send(
    run: RunDirectory, settings: SlurmSettings, calls: list[Callable[[], Any]], kind: str, dependency: str
) -> Submission:
    job, cluster = sbatch(run.path, settings, calls, dependency)
    elements = len(calls) if len(calls) > 1 else 0
    asked = settings.model_dump(exclude_none=True)
    submission = Submission(job, time.time(), socket.gethostname(), asked, elements, kind, cluster)
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
        if name is None or not (names := known(settings.clusters)):
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
