"""Jobs that were queued by version 0.1.0 before November 2026 name this class; goes with the next release."""

from typing import Any

from .slurm import allocation


class Allocation(allocation.Allocation):
    """As those jobs have it: the allocation was the callable itself."""

    def __call__(self) -> str:
        from .slurm.job import AllocationJob

        return AllocationJob(self)()

    def checkpoint(self) -> Any:
        from .slurm.job import AllocationJob

        return AllocationJob(self).checkpoint()
