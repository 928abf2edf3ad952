"""The submissions of a run, one small file per call of sbatch, and the logs of their jobs."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path, private_folder

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory

RUN, COLLECT = "run", "collect"
_LOG = re.compile(r"(\d+)(?:_(\d+))?_(\d+)_log\.out")


@dataclass(frozen=True)
class Submission:
    """A job, or a job array, that was submitted.

    Attributes:
        job: SLURM's id.
        time: when, s since 1970.
        host: machine it was submitted from.
        settings: resources that were requested.
        elements: number of elements of an array; 0 for a single job.
        kind: `run` for allocations, `collect` for the job that makes the archive.
        cluster: SLURM cluster that has the job; '' for the one of the machine it was submitted from.
    """

    job: str
    time: float
    host: str
    settings: dict[str, Any]
    elements: int = 0
    kind: str = RUN
    cluster: str = ""

    @property
    def jobs(self) -> list[str]:
        """Its jobs, one by one: JOB, or ARRAY_0, ARRAY_1 ..."""
        return [f"{self.job}_{element}" for element in range(self.elements)] or [self.job]


def slurm_folder(run_path: Path) -> Path:
    """Folder of everything in a run that concerns SLURM; private to this user."""
    return run_path / "slurm"


def record(run: RunDirectory, submission: Submission) -> None:
    """Record a submission.

    Raises:
        OSError: the run directory cannot be written.
    """
    folder = slurm_folder(run.path) / "submissions"
    private_folder(folder)
    # Jobs of two clusters may have the same number.
    name = ".".join(filter(None, (submission.job, re.sub(r"[^\w.-]+", "+", submission.cluster), "json")))
    with atomic_path(folder / name) as temporary:
        temporary.write_text(json.dumps(asdict(submission)) + "\n", encoding="utf-8")
        temporary.chmod(0o600)


def submissions(run: RunDirectory) -> list[Submission]:
    """All submissions of a run, oldest first."""
    found = []
    for path in (slurm_folder(run.path) / "submissions").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            said = json.loads(path.read_text(encoding="utf-8"))
            # Older records name the cluster only among the options of sbatch.
            said.setdefault("cluster", str(said["settings"].get("extra", {}).get("clusters") or ""))
            submission = Submission(**said)
            if str(submission.job).isdecimal():
                found.append(submission)
    return sorted(found, key=lambda submission: (submission.time, submission.job))


def log_files(run: RunDirectory, job: str | None = None) -> list[Path]:
    """Logs of a job, by element and rank; by default of the last submission.

    Args:
        run: the campaign.
        job: id of a job, of an array, or of one element of it.

    Raises:
        InputError: the run was never submitted, or has no such job.
    """
    sent = submissions(run)
    if not sent:
        raise InputError(f"{run.path}: was never submitted to SLURM; logs of its workers are in {run.path / 'logs'}")
    known = {name for submission in sent for name in (submission.job, *submission.jobs)}
    if job is not None and job not in known:
        listed = ", ".join(submission.job for submission in sent)
        raise InputError(f"{run.path}: job {job} does not belong to this run; its jobs are {listed}")
    job = job or [submission for submission in sent if submission.kind == RUN or len(sent) == 1][-1].job
    found = []
    for path in (slurm_folder(run.path) / job.partition("_")[0]).glob("*_log.out"):
        match = _LOG.fullmatch(path.name)
        if match and ("_" not in job or f"{match[1]}_{match[2]}" == job):
            found.append((int(match[2] or 0), int(match[3]), path))
    return [path for _, _, path in sorted(found)]
