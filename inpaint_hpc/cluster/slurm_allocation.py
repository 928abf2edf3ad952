"""Class named by jobs that version 0.1.0 queued before November 2026; to be removed in the next release."""

from typing import Any

from .slurm import allocation


class Allocation(allocation.Allocation):
    """The form that those jobs have pickled: the allocation itself was the callable."""

    def __call__(self) -> str:
        from .slurm.job import AllocationJob

        return AllocationJob(self)()

    def checkpoint(self) -> Any:
        from .slurm.job import AllocationJob

        return AllocationJob(self).checkpoint()
