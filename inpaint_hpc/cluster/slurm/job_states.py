"""The one place that finds the states of jobs: from the queue, accounting, slurmctld's memory, the run directory.

Clusters without accounting forget a job minutes after its end; others answer slowly or not at all.  Every query has a
time limit and covers all jobs, and what SLURM does not know is read from files that the jobs wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from inpaint_hpc.errors import InpaintHpcError

from .commands import slurm
from .rendezvous import rendezvous_folder

# States of jobs that run, will run, or are on their way out; all others are final.
LIVING = frozenset(
    ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED")
    + ("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "POWER_UP_NODE")
)
# Drivers write a heartbeat every five seconds; a busy file system may delay a few of them.
_FRESH = 60.0
# Jobs per call of sacct, which becomes slow with many.
_AT_ONCE = 50
# Total time for queries about single jobs, s.
_SLOW = 20.0
_ELEMENT = re.compile(r"\d+(_\d+)?")
# Lines of an answer; sites add others, such as how old it is.
_QUEUED = re.compile(r"\s*(\d+(?:_\d+)?)\|([A-Z_]+)\|([^|]*)\|(.*)")
_ACCOUNTED = re.compile(r"\s*(\d+(?:_\d+)?)\|([A-Z_]+)[^|]*\|([^|]*)\|([^|]*)")


@dataclass(frozen=True)
class JobState:
    """What is known about a job.

    Attributes:
        job: its id, 'ARRAY_ELEMENT' for one of an array.
        state: PENDING, RUNNING, COMPLETED, FAILED ... as SLURM calls them; LOST when only the run directory knows the
            job and its heartbeat has stopped; UNKNOWN when nothing is known.
        reason: why it is waiting, or how it ended; '' if none is given.
        nodes: its nodes, as SLURM abbreviates them.
        restarts: how often it was requeued; None if unknown.
        source: where this is from: squeue, sacct, scontrol, 'run directory', or '' for UNKNOWN.
        cluster: SLURM cluster of the job; '' for the one of this machine.
    """

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    restarts: int | None = None
    source: str = ""
    cluster: str = ""

    @property
    def living(self) -> bool:
        """Whether it is waiting or running."""
        return self.state in LIVING


@dataclass(frozen=True)
class Poll:
    """States of all jobs.

    Attributes:
        states: by id, in the order requested.
        problem: why SLURM could not be asked, in one line; '' when it could.
    """

    states: dict[str, JobState]
    problem: str = ""

    @property
    def living(self) -> list[JobState]:
        """States of the jobs that are waiting or running."""
        return [state for state in self.states.values() if state.living]


def poll(jobs: Iterable[str], run_path: str | Path | None = None, cluster: str = "") -> Poll:
    """States of jobs.  Never raises, and takes at most a minute, whatever SLURM does.

    Args:
        jobs: ids, 'ARRAY_ELEMENT' for elements of arrays.
        run_path: run directory of their campaign, for what SLURM does not know.
        cluster: where they were submitted; '' for the cluster of this machine.
    """
    wanted = list(dict.fromkeys(jobs))
    found: dict[str, JobState] = {}
    if not wanted:
        return Poll(found)
    problem = ""
    try:
        found = {state.job: state for state in _queued(cluster)}
    except InpaintHpcError as error:
        problem = str(error)
    if not problem:
        for ask in (_accounted, _remembered):
            # The queue may still show a job that is over, but not how it ended.
            unknown = [
                job
                for job in wanted
                if _ELEMENT.fullmatch(job) and (job not in found or not (found[job].living or _told(found[job])))
            ]
            if unknown:
                found |= {state.job: state for state in ask(unknown, cluster)}
    states = {}
    for job in wanted:
        state = found.get(job)
        if run_path is not None:
            state = _completed(state or JobState(job, "UNKNOWN"), Path(run_path))
        state = state or JobState(job, "UNKNOWN")
        array = job.partition("_")[0]
        if state.state == "UNKNOWN" and any(other.startswith(f"{array}_") for other in found):
            # SLURM forgets an array element cancelled while pending, but keeps its siblings.
            state = replace(state, state="CANCELLED", reason="before it started")
        states[job] = replace(state, cluster=cluster)
    return Poll(states, problem)


def _told(state: JobState) -> bool:
    return state.source in ("sacct", "scontrol")


def _queued(cluster: str) -> Iterator[JobState]:
    # Queried by user, because an id that SLURM has forgotten would be an error.
    command = ("squeue", "-h", "-r", "-u", str(os.getuid()), "-t", "all", "-o", "%i|%T|%N|%r")
    for line in slurm(*command, timeout=15.0, clusters=cluster).splitlines():
        if match := _QUEUED.fullmatch(line):
            job, state, nodes, reason = match.groups()
            yield JobState(job, state, "" if reason == "None" else reason, nodes, source="squeue")


def _accounted(jobs: list[str], cluster: str) -> Iterator[JobState]:
    """Clusters without accounting answer with an error or not at all; then they are not asked again."""
    ids = sorted({job.partition("_")[0] for job in jobs}, key=int)
    for start in range(0, len(ids), _AT_ONCE):
        asked = ",".join(ids[start : start + _AT_ONCE])
        try:
            command = ("sacct", "-nPX", "-j", asked, "-o", "JobID,State,ExitCode,NodeList")
            lines = slurm(*command, timeout=10.0, clusters=cluster)
        except InpaintHpcError:
            return
        for line in lines.splitlines():  # of several attempts of a job, the last one counts
            if (match := _ACCOUNTED.fullmatch(line)) and match[1] in jobs:
                job, state, status, nodes = match.groups()
                yield JobState(job, state, _ending(status), nodes, source="sacct")


def _remembered(jobs: list[str], cluster: str) -> Iterator[JobState]:
    """slurmctld keeps jobs for MinJobAge seconds after their end, five minutes by default."""
    give_up_at = time.monotonic() + _SLOW
    for job in dict.fromkeys(job.partition("_")[0] for job in jobs):
        if time.monotonic() > give_up_at:
            return
        try:
            lines = slurm("scontrol", "show", "job", "-o", job, timeout=10.0, clusters=cluster).splitlines()
        except InpaintHpcError:
            continue
        for line in lines:
            fields = dict(re.findall(r"(\w+)=(\S*)", line))
            name = fields.get("JobId", "")
            if "ArrayJobId" in fields:
                name = f"{fields['ArrayJobId']}_{fields.get('ArrayTaskId', '')}"
            if name not in jobs or not _ELEMENT.fullmatch(name) or "JobState" not in fields:
                continue
            reason = fields.get("Reason", "None")
            reason = _ending(fields.get("ExitCode", "0:0")) if reason == "None" else reason
            nodes = fields.get("NodeList", "").replace("(null)", "")
            restarts = fields.get("Restarts", "")
            yield JobState(
                name, fields["JobState"], reason, nodes, int(restarts) if restarts.isdecimal() else None, "scontrol"
            )


def _ending(status: str) -> str:
    code, _, signal = status.partition(":")
    return f"exit status {code}" if code != "0" else f"signal {signal}" if signal not in ("", "0") else ""


def _completed(state: JobState, run_path: Path) -> JobState:
    """Add what the run directory knows: the number of restarts, and the whole state if SLURM does not know the job."""
    folder = rendezvous_folder(run_path, state.job)
    names = [path.stem for pattern in ("node-*-0.json", "ended-*.json") for path in folder.glob(pattern)]
    attempts = [int(number) for number in (name.split("-")[1] for name in names) if number.isdecimal()]
    restarts = max(attempts, default=None)
    if state.restarts is None and restarts is not None:
        state = replace(state, restarts=restarts)
    ended = _read(folder / f"ended-{restarts}.json") if restarts is not None else {}
    if state.state != "UNKNOWN":
        if ended and not state.living and state.state != "COMPLETED":
            state = replace(state, reason=": ".join(filter(None, (state.reason, str(ended.get("reason", ""))))))
        return state
    beat = _read(run_path / f"driver-{state.job}.json")
    nodes = str(_read(folder / f"node-{restarts}-0.json").get("node", ""))
    last = beat.get("time")
    age = time.time() - (last if isinstance(last, int | float) else 0.0)
    if ended:
        reason = str(ended.get("reason", ""))
        said = "COMPLETED" if reason.startswith(("done", "the rest")) else "FAILED"
        if reason.startswith(("warned", "time", "requeued")):
            said, reason = "LOST", f"{reason}; it was to be requeued"
    elif beat and age < _FRESH:
        said, reason = "RUNNING", ""
    elif beat:
        said, reason = "LOST", f"no sign of life for {age / 60:.0f} minutes"
    else:
        return state
    return replace(state, state=said, reason=reason, nodes=nodes, source="run directory")


def _read(path: Path) -> dict:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
