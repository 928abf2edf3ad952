"""Calls of SLURM's commands, always with a time limit, and what they report about the cluster."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime

from inpaint_hpc.cluster.executor import one_line
from inpaint_hpc.errors import InpaintHpcError, InputError

DEFAULT_ARRAY = 1000  # SLURM's own default of MaxArraySize
# A user's defaults for what commands show, which jobs they consider, and which cluster they ask.
_HABITS = ("SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_", "SCONTROL_", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")


class SlurmError(InpaintHpcError):
    """A SLURM command failed or did not answer; the message is one line."""


def slurm(
    *command: str, timeout: float | None = 20.0, clusters: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """The output of a SLURM command, in which sites may say more than was asked: take the lines that fit, skip others.

    Bytes that are not UTF-8, such as in comments of other users, are written as '\\xNN'.

    Args:
        timeout: s; None waits for ever.
        clusters: the clusters to ask, as for `--clusters`; '' for this machine's own.
        environment: instead of this process's, which is used without the user's habits for SLURM's commands.

    Raises:
        InputError: there is no such command here.
        SlurmError: it failed, or did not answer within `timeout` s.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"no '{command[0]}' in PATH; use a login node of a SLURM cluster")
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_HABITS)}
    words = [command[0], *(["-M", clusters] if clusters else []), *command[1:]]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer within {timeout:.0f} s; try again later") from None
    except OSError as error:
        raise SlurmError(f"{shutil.which(command[0])} cannot be run ({error.strerror})") from None
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


def partitions(clusters: str = "") -> list[str]:
    """Partitions of this cluster or of others; empty if unknown."""
    try:
        said = slurm("sinfo", "-h", "-o", "partition|%R", clusters=clusters)
    except InpaintHpcError:
        return []
    return sorted(set(re.findall(r"^partition\|(\S+)\s*$", said, re.MULTILINE)))


def nodes(clusters: str = "") -> list[str]:
    """Kinds of nodes of a cluster: partition, processors, MB of memory, GPUs; empty if unknown."""
    try:
        said = slurm("sinfo", "-h", "-o", "nodes|%R: %c cpus, %m MB, %G", clusters=clusters)
    except InpaintHpcError:
        return []
    return sorted({line.replace(", (null)", "") for line in re.findall(r"^nodes\|(.*\S)\s*$", said, re.MULTILINE)})


def accounts(clusters: str = "") -> list[str]:
    """Accounts that this user may use; empty if unknown, as on clusters without accounting."""
    try:
        asked = ("show", "associations", f"user={getpass.getuser()}", *([f"cluster={clusters}"] if clusters else []))
        said = slurm("sacctmgr", "-nP", *asked, "format=account,user", timeout=10.0)
    except (InpaintHpcError, KeyError, OSError):  # KeyError, OSError: a user without a name, as in some containers
        return []
    return sorted(set(re.findall(r"^(\S+)\|\S+\s*$", said, re.MULTILINE)))


def unreachable(clusters: str = "") -> str:
    """Why SLURM cannot be asked from here, in one line; '' when it can."""
    try:
        slurm("sinfo", "-h", "-o", "%R", clusters=clusters)
    except InpaintHpcError as error:
        return str(error)
    return ""


def largest_array(clusters: str = "") -> int:
    """Maximum number of elements of a job array on any of some clusters; `DEFAULT_ARRAY` if unknown."""
    found = []
    for cluster in clusters.split(","):  # scontrol asks one at a time
        try:
            said = slurm("scontrol", "show", "config", clusters=cluster)
        except InpaintHpcError:
            continue
        found += re.findall(r"^MaxArraySize\s*=\s*(\d+)", said, re.MULTILINE)
    # The largest index is one less; 0 means that arrays are not allowed.
    return max(1, min(map(int, found))) if found else DEFAULT_ARRAY
