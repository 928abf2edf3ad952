"""Submitting a campaign to SLURM through submitit, and the record of what was submitted."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import inpaint_hpc
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .executor import one_line
from .slurm_allocation import Allocation
from .slurm_jobs import JobState, SlurmError, accounts, job_states, partitions, slurm
from .slurm_profile import SlurmSettings

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory

# sbatch hands the submitter's environment to the job, where these would lead astray.
_LEAKS = ("RAY_", "SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_", "INPAINT_HPC_RAY_", "CUDA_VISIBLE")
_KEPT = ("SLURM_CONF",)
# Timeouts are our business: the driver stops in time, and a life without progress is not repeated for ever.
_TIMEOUTS = 1_000_000
# So often a job whose head was killed comes back by itself; what kills it may be the campaign.
_KILLED_LIVES = 5


@dataclass(frozen=True)
class Submission:
    """An allocation that was submitted.

    Attributes:
        job: SLURM's id.
        time: when, s since 1970.
        host: from where.
        settings: resources that were asked for.
    """

    job: str
    time: float
    host: str
    settings: dict[str, Any]


def submit_run(
    run: RunDirectory, settings: SlurmSettings, collect: bool = True, factory: Callable[..., Any] | None = None
) -> Submission:
    """Submit one allocation for what is left of a campaign.

    Args:
        run: the campaign.
        settings: what to ask for.
        collect: let the job make the archive at the end.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.

    Raises:
        InputError: nothing is left, a job of this run waits or runs already, no SLURM here, or SLURM refuses what is
            asked for.
        SlurmError: SLURM does not answer.
        OSError: the run directory cannot be written.
    """
    _require_work(run)
    living = [state for state in states_of(run).values() if state.living]
    if living:
        raise InputError(
            f"{run.path}: job {living[0].job} is {living[0].state.lower()}; watch it with `inpaint-hpc status`, or end "
            f"it with `inpaint-hpc cancel {run.path}`"
        )
    _require_known(settings)
    folder(run).mkdir(mode=0o700, exist_ok=True)
    allocation = _allocation(run, settings, collect, factory)
    said = io.StringIO()
    try:
        with _clean_environment(), contextlib.redirect_stderr(said):
            job = _executor(run, settings).submit(allocation)
    except Exception as error:  # submitit raises several kinds, with what sbatch said in them or on stderr
        raise InputError(_refusal(f"{error} {said.getvalue()}", settings)) from error
    submission = Submission(str(job.job_id), time.time(), socket.gethostname(), settings.model_dump(exclude_none=True))
    with atomic_path(folder(run) / "submissions" / f"{submission.job}.json") as temporary:
        temporary.write_text(json.dumps(vars(submission)) + "\n")
        temporary.chmod(0o600)
    return submission


def script(run: RunDirectory, settings: SlurmSettings) -> str:
    """The sbatch script that `submit_run` would submit; nothing is submitted or written.

    Raises:
        InputError: nothing is left to do, or submitit is missing.
    """
    _require_work(run)
    executor = _executor(run, settings)
    return executor._make_submission_file_text(executor._submitit_command_str, "dry-run")


def folder(run: RunDirectory) -> Path:
    """Where everything of a run that has to do with SLURM is."""
    return run.path / "slurm"


def submissions(run: RunDirectory) -> list[Submission]:
    """All submissions of a run, oldest first."""
    found = []
    for path in (folder(run) / "submissions").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(Submission(**json.loads(path.read_text())))
    return sorted(found, key=lambda submission: submission.time)


def states_of(run: RunDirectory) -> dict[str, JobState]:
    """States of all jobs of a run by id, oldest first.

    Raises:
        InputError, SlurmError: as `job_states`; not when the run was never submitted.
    """
    return job_states(submission.job for submission in submissions(run))


def describe_jobs(run: RunDirectory) -> list[str]:
    """A line for each job of a run that waits or runs, and for the last one; for `status`.  Never raises or hangs."""
    sent = submissions(run)
    if not sent:
        return []
    try:
        states = states_of(run)
    except (InputError, SlurmError) as error:
        return [f"jobs     {', '.join(s.job for s in sent[-3:])}; their state is not known ({error})"]
    shown = [state for job, state in states.items() if state.living or job == sent[-1].job]
    lines = []
    for state in shown:
        text = f"job      {state.job} {state.state}"
        text += f" on {state.nodes}" if state.nodes else ""
        text += f", requeued {state.restarts} times" if state.restarts else ""
        text += f" ({state.reason})" if state.reason else ""
        if state.state == "PENDING" and state.reason == "BeginTime":
            text += ": it was requeued and starts again soon"
        if not state.living and state.state != "COMPLETED":
            text += f"; `inpaint-hpc logs {run.path}` shows why, `inpaint-hpc submit {run.path}` goes on"
        lines.append(text)
    return lines


def cancel_run(run: RunDirectory) -> list[str]:
    """Cancel all jobs of a run that wait or run; their ids.  Results that are written stay.

    Raises:
        InputError: no SLURM here.
        SlurmError: SLURM does not answer or refuses.
    """
    living = [state.job for state in states_of(run).values() if state.living]
    if living:
        slurm("scancel", *living, timeout=60.0)
    return living


def log_files(run: RunDirectory, job: str | None = None) -> list[Path]:
    """Logs of a job, by rank; by default of the last one.

    Raises:
        InputError: the run was never submitted, or has no such job.
    """
    known = [submission.job for submission in submissions(run)]
    if not known:
        raise InputError(f"{run.path}: was never submitted to SLURM; logs of its workers are in {run.path / 'logs'}")
    if job is not None and job not in known:
        raise InputError(f"{run.path}: job {job} is not of this run; its jobs are {', '.join(known)}")
    files = (folder(run) / (job or known[-1])).glob("*_log.out")
    return sorted(files, key=lambda path: int(path.name.split("_")[-2]))


def _require_work(run: RunDirectory) -> None:
    if not run.pending_units():
        raise InputError(f"{run.path}: all is done; `inpaint-hpc collect {run.path}` makes the archive")


def _require_known(settings: SlurmSettings) -> None:
    if settings.partition is None:
        return
    known = partitions()
    missing = [name for name in settings.partition.split(",") if name not in known]
    if known and missing:
        raise InputError(f"no partition '{missing[0]}'; choose from {', '.join(known)}")


def _refusal(said: str, settings: SlurmSettings) -> str:
    """What sbatch said, and what may be chosen instead."""
    text = one_line(said.replace("sbatch: error: ", "").strip())
    lower = text.lower()
    if "partition" in lower and (known := partitions()):
        text += f"; partitions here are {', '.join(known)}"
    if "account" in lower or "association" in lower:
        known = accounts()
        text += f"; your accounts are {', '.join(known)}" if known else "; name yours with --account"
    return f"SLURM refuses the job: {text}"


def _allocation(
    run: RunDirectory, settings: SlurmSettings, collect: bool, factory: Callable[..., Any] | None
) -> Allocation:
    return Allocation(
        run_path=str(run.path.resolve()),
        version=inpaint_hpc.__version__,
        actors=settings.actors,
        threads=settings.threads,
        device=settings.device,
        # Time to write what was computed, before SLURM's warning, which may come a little early.
        warning_seconds=settings.warning_seconds + min(10, settings.time * 5),
        head_timeout=settings.head_timeout,
        collect=collect,
        factory=factory,
    )


def _executor(run: RunDirectory, settings: SlurmSettings) -> Any:
    try:
        import submitit
    except ImportError:
        raise InputError("submitit is not installed; pip install submitit") from None

    where = folder(run).resolve()
    if "%" in str(where):
        raise InputError(f"{run.path}: SLURM gives '%' in paths a meaning of its own; use another --out")
    slurm("sbatch", "--version")  # a clear message where there is no SLURM
    executor = submitit.SlurmExecutor(where / "%j", max_num_timeout=_TIMEOUTS)
    additional: dict[str, Any] = {"requeue": True, "no-kill": True}
    for key, value in {"mem": settings.mem, "reservation": settings.reservation, **settings.extra}.items():
        if value is not None and value is not False:
            additional[key] = value
    step = ["--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--open-mode=append"]
    if settings.cpus_per_task is not None:
        step.append(f"--cpus-per-task={settings.cpus_per_task}")  # not inherited from sbatch since SLURM 22.05
    executor.update_parameters(
        job_name=f"inpaint-{run.path.resolve().name}"[:64],
        nodes=settings.nodes,
        ntasks_per_node=1,
        time=settings.time,
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        constraint=settings.constraint,
        gpus_per_node=settings.gpus_per_node,
        gres=settings.gres,
        cpus_per_task=settings.cpus_per_task,
        exclusive=settings.exclusive or None,
        signal_delay_s=settings.warning_seconds,
        setup=[f"export PYTHONPATH={_python_path()}", *settings.setup],
        teardown=_teardown(where),
        stderr_to_stdout=True,
        wckey=None,
        srun_args=step,
        additional_parameters=additional,
    )
    return executor


def _teardown(where: Path) -> list[str]:
    """Shell lines after the step: a head that was killed in the middle could not say how it ended; then once more."""
    return [
        "status=$?",
        f"cd {shlex.quote(str(where))}/$SLURM_JOB_ID && life=${{SLURM_RESTART_COUNT:-0}}",
        f"if [ -e node-$life-0.json ] && [ ! -e ended-$life.json ] && [ $life -lt {_KILLED_LIVES} ]; then",
        "  echo 'rank 0 was killed, the job is requeued'",
        "  scontrol requeue $SLURM_JOB_ID && sleep 120",
        "fi",
        "exit $status",
    ]


def _python_path() -> str:
    """This very package first, then what the job's environment has."""
    parent = shlex.quote(str(Path(inpaint_hpc.__file__).resolve().parent.parent))
    return f"{parent}${{PYTHONPATH:+:$PYTHONPATH}}"


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """While sbatch is called, without what belongs to another job or Ray cluster."""
    removed = {name: os.environ[name] for name in os.environ if name.startswith(_LEAKS) and name not in _KEPT}
    for name in removed:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(removed)
