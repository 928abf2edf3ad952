"""Calls of SLURM's commands, always with a time limit, and what they report about the cluster."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from datetime import datetime

from inpaint_hpc.cluster.executor import one_line
from inpaint_hpc.errors import InpaintHpcError, InputError

DEFAULT_ARRAY = 1000  # SLURM's own default of MaxArraySize


class SlurmError(InpaintHpcError):
    """A SLURM command failed or did not answer; the message is one line."""


def slurm(*command: str, timeout: float = 20.0) -> str:
    """The output of a SLURM command.

    Raises:
        InputError: there is no such command here.
        SlurmError: it failed, or did not answer within `timeout` s.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"no '{command[0]}' in PATH; use a login node of a SLURM cluster")
    try:
        # Names of jobs and users may be in any encoding.
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer within {timeout:.0f} s; try again later") from None
    if done.returncode:
        raise SlurmError(f"{command[0]}: {one_line(done.stderr or done.stdout or f'exit status {done.returncode}')}")
    return done.stdout


def job_fields(job: str) -> dict[str, str]:
    """The fields of `scontrol show job`, by name.

    Raises:
        SlurmError: SLURM has forgotten the job, or slurmctld does not answer.
    """
    return dict(re.findall(r"(\w+)=(\S*)", slurm("scontrol", "show", "job", "-o", job)))


def end_time(job: str) -> float | None:
    """When this job will be ended, s since 1970; None without a limit or if SLURM does not tell."""
    said = os.environ.get("SLURM_JOB_END_TIME", "")
    if "SLURM_PROCID" in os.environ and said.isdigit():
        return float(said)
    try:
        return datetime.strptime(job_fields(job).get("EndTime", ""), "%Y-%m-%dT%H:%M:%S").timestamp()
    except (InpaintHpcError, ValueError):
        return None


def partitions() -> list[str]:
    """Partitions of this cluster; empty if unknown."""
    try:
        return sorted(set(slurm("sinfo", "-h", "-o", "%R").split()))
    except InpaintHpcError:
        return []


def nodes() -> list[str]:
    """Kinds of nodes of this cluster: partition, processors, MB of memory, GPUs; empty if unknown."""
    try:
        lines = slurm("sinfo", "-h", "-o", "%R: %c cpus, %m MB, %G").splitlines()
    except InpaintHpcError:
        return []
    return sorted({line.replace(", (null)", "") for line in lines})


def accounts() -> list[str]:
    """Accounts that this user may use; empty if unknown, as on clusters without accounting."""
    try:
        command = ("sacctmgr", "-nP", "show", "associations", f"user={getpass.getuser()}", "format=account")
        return sorted(set(slurm(*command, timeout=10.0).split()))
    except (InpaintHpcError, KeyError, OSError):  # KeyError, OSError: a user without a name, as in some containers
        return []


def unreachable() -> str:
    """Why SLURM cannot be asked from here, in one line; '' when it can."""
    try:
        slurm("sinfo", "-h", "-o", "%R")
    except InpaintHpcError as error:
        return str(error)
    return ""


def largest_array() -> int:
    """Maximum number of elements of a job array here; `DEFAULT_ARRAY` if unknown."""
    try:
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    except InpaintHpcError:
        match = None
    # The largest index is one less; 0 means that arrays are not allowed.
    return max(1, int(match[1])) if match else DEFAULT_ARRAY
