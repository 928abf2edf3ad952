"""What submitit pickles and runs once per node of an allocation: rank 0 is the Ray head and the driver, the others are
Ray nodes that follow it.

No state is kept here: a requeued job runs the same pickle again, and what has been done is read from the run
directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .allocation import Allocation
from .head_node import HeadNode
from .job_step import JobTerminated, log
from .rendezvous import Rendezvous, here
from .worker_node import WorkerNode


@dataclass(frozen=True)
class AllocationJob:
    """The callable that submitit pickles.

    Attributes:
        allocation: what to do.
    """

    allocation: Allocation

    def __call__(self) -> str:
        """Run this node's part; returns how it ended, in one line."""
        context = here()
        rendezvous = Rendezvous(self.allocation.run_path, context.job, context.restarts)
        rendezvous.open()
        log(
            context,
            f"job {context.job} on {context.node}, {context.cpus} cpus, {context.gpus} gpus, "
            f"requeued {context.restarts} times",
        )
        for note in context.gpu_notes:
            log(context, note)
        kind = HeadNode if context.rank == 0 else WorkerNode
        try:
            ended = kind(self.allocation, context, rendezvous).run()
        except JobTerminated:
            ended = "ended by SLURM"
        log(context, ended)
        return ended

    def checkpoint(self) -> Any:
        """What submitit requeues if SLURM's warning comes before our handler is in place: the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
