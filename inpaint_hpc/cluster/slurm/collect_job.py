"""The job that makes the archive when all allocations of a run have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inpaint_hpc.environment import settle_process
from inpaint_hpc.errors import InputError

from .job_step import same_again

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


@dataclass(frozen=True)
class CollectJob:
    """The callable that submitit pickles.

    Attributes:
        run_path: the run directory.
    """

    run_path: str

    def __call__(self) -> str:
        """Collect the results; returns a summary in one line.

        Raises:
            InputError: some tasks have no result; the archive has the others.
        """
        from inpaint_hpc.campaign.run_directory import RunDirectory
        from inpaint_hpc.campaign.run_results import collect_run

        settle_process()
        run = RunDirectory(self.run_path)
        report = collect_run(run)
        said = f"{report.path}: {report.tasks} tasks ({report.done} done, {report.failed} failed)"
        print(said, flush=True)
        if not report.complete:
            raise InputError(
                f"{run.path}: {report.missing} of {report.expected} tasks have no result; `inpaint-hpc resume "
                f"{run.path}` runs them"
            )
        return said

    def checkpoint(self) -> DelayedSubmission:
        """The same again, after a requeue."""
        return same_again(self)
