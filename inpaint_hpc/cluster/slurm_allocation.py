"""Class named by jobs that version 0.1.0 queued before November 2026; to be removed in the next release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .slurm import allocation

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


class Allocation(allocation.Allocation):
    """The form that those jobs have pickled: the allocation itself was the callable."""

    def __call__(self) -> str:
        """Run the job."""
        from .slurm.job import AllocationJob

        return AllocationJob(self)()

    def checkpoint(self) -> DelayedSubmission:
        """What submitit runs after a requeue."""
        from .slurm.job import AllocationJob

        return AllocationJob(self).checkpoint()
