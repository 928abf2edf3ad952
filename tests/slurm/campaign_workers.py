"""Workers that tell what they did, and what tests ask of runs; jobs have this folder in PYTHONPATH, too."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dev_cluster import wait_until

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.work_units import WorkUnit
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.slurm.job_states import JobState
from inpaint_hpc.cluster.slurm.submit import states_of

SECONDS = "TEST_SECONDS_PER_UNIT"


class TellingWorker:
    """Computes on the CPU whatever it is given, and writes RUN/told/*.json for each unit that it finished."""

    def __init__(self, run_path: str, device: str, threads: int | None, name: str) -> None:
        self.folder = Path(run_path) / "told"
        self.folder.mkdir(exist_ok=True)
        self.device, self.name = device, name
        self.worker = ShardWorker(run_path, "cpu", threads, name)

    def run_unit(self, unit: WorkUnit) -> Any:
        time.sleep(float(os.environ.get(SECONDS, 0)))
        report = self.worker.run_unit(unit)
        record = {
            "unit": str(unit),
            "worker": self.name,
            "device": self.device,
            "node": os.environ.get("SLURMD_NODENAME"),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "life": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
            "leak": os.environ.get("RAY_LEAK"),
            "job": place_name(),
            "time": time.time(),
        }
        (self.folder / f"{secrets.token_hex(8)}.json").write_text(json.dumps(record))
        return report


def place_name() -> str:
    """The job that we are in: JOB, or ARRAY_ELEMENT."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array else os.environ.get("SLURM_JOB_ID", "")


def told(run_path: Path) -> list[dict[str, Any]]:
    """What workers wrote."""
    return [json.loads(path.read_text()) for path in sorted((run_path / "told").glob("*.json"))]


def states(run: RunDirectory) -> dict[str, JobState]:
    """All jobs of a run, by id."""
    return states_of(run).states


def state_of(run: RunDirectory) -> str:
    """State of the first job of a run."""
    return next(iter(states(run).values())).state


def log_of(run: RunDirectory) -> str:
    return "\n".join(path.read_text() for path in (run.path / "slurm").glob("*/*_log.out"))


def wait_for(condition: Callable[[], bool], seconds: float, what: str, run: RunDirectory) -> None:
    try:
        wait_until(condition, seconds, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log_of(run)[-6000:]}") from None


def complete(run: RunDirectory, job: str, seconds: float) -> None:
    """A job ends well, and the campaign has every task exactly once and nothing damaged."""
    ends = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")
    wait_for(lambda: states(run)[job].state in ends, seconds, f"job {job} ends", run)
    assert states(run)[job].state == "COMPLETED", log_of(run)
    assert run.pending_units() == [] and run.damaged_units() == {}
    with Archive(run.archive_path, verify=True) as archive:
        assert sorted(archive.task_ids()) == sorted(run.task_ids().astype(str).tolist())


class OneBadNode(TellingWorker):
    """Cannot work on the node that an environment variable names, such as one whose GPU has fallen off the bus."""

    @staticmethod
    def problem_here(device: str, gpus: int) -> str:
        return "its GPU is broken" if os.environ["SLURMD_NODENAME"] == os.environ["TEST_BAD_NODE"] else ""
