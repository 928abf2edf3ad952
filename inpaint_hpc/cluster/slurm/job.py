"""What submitit pickles and runs once per node of an allocation: rank 0 is the Ray head and the driver, the others are
Ray nodes that follow it.

No state is kept here: a requeued job runs the same pickle again, and what has been done is read from the run
directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inpaint_hpc.environment import settle_process

from . import job_step
from .allocation import Allocation
from .head_node import HeadNode
from .job_step import JobTerminated, log
from .rendezvous import Rendezvous, here
from .worker_node import WorkerNode

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


@dataclass(frozen=True)
class AllocationJob:
    """The callable that submitit pickles.

    Attributes:
        allocation: what to do.
    """

    allocation: Allocation

    def __call__(self) -> str:
        """Run this node's part; returns how it ended, in one line."""
        settle_process()
        context = here()
        rendezvous = Rendezvous(self.allocation.run_path, context.job, context.restarts)
        rendezvous.open()
        log(
            context,
            f"job {context.job} on {context.node}, {context.cpus} cpus, {context.gpus} gpus, "
            f"requeued {context.restarts} times",
        )
        if not job_step.checked:
            log(context, "submitted by an older version, which kept no digest of what this job runs")
        for note in context.gpu_notes:
            log(context, note)
        kind = HeadNode if context.rank == 0 else WorkerNode
        try:
            ended = kind(self.allocation, context, rendezvous).run()
        except JobTerminated:
            ended = "ended by SLURM"
        log(context, ended)
        return ended

    def checkpoint(self) -> DelayedSubmission:
        """What submitit requeues if SLURM's warning comes before our handler is in place: the same call again."""
        return job_step.same_again(self)
