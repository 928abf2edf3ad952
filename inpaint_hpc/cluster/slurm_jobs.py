"""SLURM's commands: what it is asked, never without a time limit, and what it says about jobs."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from inpaint_hpc.errors import InpaintHpcError, InputError

from .executor import one_line

# States of jobs that run, will run, or are on their way out; all others are final.
LIVING = frozenset(
    ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED")
    + ("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "POWER_UP_NODE")
)


class SlurmError(InpaintHpcError):
    """A command of SLURM failed or did not answer; the message is one line."""


@dataclass(frozen=True)
class JobState:
    """What SLURM knows of a job.

    Attributes:
        job: its id.
        state: PENDING, RUNNING, COMPLETED, FAILED ...; UNKNOWN when SLURM has forgotten it.
        reason: why it waits, or how it ended; '' without one.
        nodes: its nodes, as SLURM abbreviates them.
        restarts: how often it was requeued; None when SLURM does not say.
    """

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    restarts: int | None = None

    @property
    def living(self) -> bool:
        return self.state in LIVING


def slurm(*command: str, timeout: float = 20.0) -> str:
    """What a command of SLURM prints.

    Raises:
        InputError: there is no such command here.
        SlurmError: it failed, or did not answer within `timeout` s.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"no '{command[0]}' in PATH; use a login node of a SLURM cluster")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer within {timeout:.0f} s; try again later") from None
    if done.returncode:
        raise SlurmError(f"{command[0]}: {one_line(done.stderr or done.stdout or f'exit status {done.returncode}')}")
    return done.stdout


def job_states(jobs: Iterable[str]) -> dict[str, JobState]:
    """States of jobs by id: from the queue, else from slurmctld's memory, else from the accounting if there is any.

    Raises:
        InputError: no SLURM here.
        SlurmError: slurmctld does not answer.
    """
    wanted = list(dict.fromkeys(jobs))
    found: dict[str, JobState] = {}
    if not wanted:
        return found
    # Asked for by user, because an id that SLURM has forgotten would be an error.
    for line in slurm("squeue", "-h", "-u", str(os.getuid()), "-t", "all", "-o", "%i|%T|%N|%r").splitlines():
        job, state, nodes, reason = line.split("|", 3)
        if job in wanted:
            found[job] = JobState(job, state, "" if reason == "None" else reason, nodes)
    for job in wanted:
        if job not in found or not found[job].living:
            found[job] = _remembered(job) or _accounted(job) or found.get(job) or JobState(job, "UNKNOWN")
    return found


def job_fields(job: str) -> dict[str, str]:
    """What `scontrol show job` says, by name.

    Raises:
        SlurmError: it is forgotten, or slurmctld does not answer.
    """
    return dict(re.findall(r"(\w+)=(\S*)", slurm("scontrol", "show", "job", "-o", job)))


def _remembered(job: str) -> JobState | None:
    try:
        fields = job_fields(job)
    except SlurmError:
        return None
    reason = fields.get("Reason", "None")
    status, _, signal = fields.get("ExitCode", "0:0").partition(":")
    if reason == "None":
        reason = f"exit status {status}" if status != "0" else f"signal {signal}" if signal not in ("", "0") else ""
    return JobState(job, fields["JobState"], reason, fields.get("NodeList", ""), int(fields.get("Restarts", 0)))


def _accounted(job: str) -> JobState | None:
    """Clusters without accounting answer with an error, and some do not answer."""
    try:
        lines = slurm("sacct", "-nPX", "-j", job, "-o", "State,ExitCode,NodeList", timeout=10.0).splitlines()
    except InpaintHpcError:
        return None
    if not lines:
        return None
    state, status, nodes = lines[-1].split("|")  # the last of its lives
    return JobState(job, state.split()[0], "" if status == "0:0" else f"exit status {status}", nodes)


def end_time(job: str) -> float | None:
    """When a running job will be ended, s since 1970; None without a limit or when SLURM does not say."""
    said = os.environ.get("SLURM_JOB_END_TIME", "")
    if os.environ.get("SLURM_JOB_ID") == job and said.isdigit():
        return float(said)
    try:
        return datetime.strptime(job_fields(job).get("EndTime", ""), "%Y-%m-%dT%H:%M:%S").timestamp()
    except (InpaintHpcError, ValueError):
        return None


def partitions() -> list[str]:
    """Partitions of this cluster; none when it does not say."""
    try:
        return sorted(set(slurm("sinfo", "-h", "-o", "%R").split()))
    except InpaintHpcError:
        return []


def accounts() -> list[str]:
    """Accounts that this user may use; none when the cluster does not say, such as one without accounting."""
    try:
        command = ("sacctmgr", "-nP", "show", "associations", f"user={getpass.getuser()}", "format=account")
        return sorted(set(slurm(*command, timeout=10.0).split()))
    except InpaintHpcError:
        return []
