"""What all nodes of an allocation share: ending, requeueing, their Ray node and their log lines."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from inpaint_hpc.errors import InpaintHpcError
from inpaint_hpc.gpus import gpus_here

from .commands import slurm
from .rendezvous import JobContext, Rendezvous

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from submitit.helpers import DelayedSubmission

    from inpaint_hpc.cluster.ray.node import RayNode

# Unreachable nodes are noticed after about ten seconds; with Ray's defaults it takes more than half a minute.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}


# Whether this process was started by `start`, which looks at the pickle; submissions of older versions were not.
checked = False


class JobTerminated(BaseException):
    """SLURM is ending this process; not caught by `except Exception`."""


def same_again(function: Callable[[], str]) -> DelayedSubmission:
    """For submitit: the same call after a requeue, by the same bytes, of which the job's script has the digest."""
    from submitit.core.job_environment import JobEnvironment
    from submitit.helpers import DelayedSubmission

    class Same(DelayedSubmission):
        def dump(self, filepath: str | Path) -> None:
            shutil.copy(JobEnvironment().paths.submitted_pickle, filepath)

    return Same(function)


def make_node(
    run_path: str,
    context: JobContext,
    rendezvous: Rendezvous,
    device: str,
    threads: int,
    address: str,
    head: str | None,
) -> RayNode:
    """The Ray node of this rank, not started; `head` is the address to join, None for the head itself."""
    from inpaint_hpc.cluster.ray.node import RayNode

    # torch and the BLAS below it read these when they are loaded.
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    if device == "cuda":
        variables |= gpus_here().environment
    return RayNode(
        run_path,
        cpus=max(context.cpus, threads),
        gpus=context.gpus if device == "cuda" else 0,
        token=rendezvous.token,
        address=head,
        ip=address,
        variables=variables | _HEALTH,
    )


def requeue(context: JobContext) -> None:
    """Put this job back into the queue, which ends this attempt; SLURM will start it again.

    Raises:
        SlurmError: SLURM refuses or does not answer, even after several attempts.
        JobTerminated: the job was put back, and this process is told to end.
    """
    for attempt in range(5):
        try:
            slurm("scontrol", "requeue", context.job, timeout=60.0)
            break
        except InpaintHpcError:
            if attempt == 4:
                raise
            time.sleep(10.0)
    log(context, f"requeued job {context.job}")
    # Returning would complete the job before SLURM gets round to ending it.
    with contextlib.suppress(JobTerminated), handlers({signal.SIGTERM: end_process}):
        time.sleep(120.0)


def end_process(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends the process by an exception, so that everything is cleaned up."""
    raise JobTerminated


@contextlib.contextmanager
def handlers(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    """Signal handlers for a block; afterwards those from before."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def log(context: JobContext, text: str) -> None:
    """Write a line with time and rank to the job's output."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} rank {context.rank}: {text}", flush=True)
