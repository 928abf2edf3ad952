"""Rank 0 of an allocation: runs the Ray head and the driver, and decides whether the job is requeued."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from inpaint_hpc._version import __version__
from inpaint_hpc.campaign.resources import analysis_processes, units_at_once
from inpaint_hpc.cluster.executor import ClusterError, one_line, worker_factory
from inpaint_hpc.errors import InpaintHpcError, InputError

from .allocation import Allocation
from .commands import end_time, job_fields
from .job_step import JobTerminated, end_process, handlers, log, make_node, requeue
from .rendezvous import JobContext, Rendezvous, node_address

if TYPE_CHECKING:
    from types import FrameType

    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.driver_state import DriveReport
    from inpaint_hpc.cluster.ray.node import RayNode


# SLURM checks time limits once a minute, so its warning may come up to a minute early (s).
_EARLY = 75.0
ATTEMPTS_WITHOUT_PROGRESS = 3
# Time for units in flight when SLURM ends the job (s); after KillWait everything is killed, with no cleaning up.
_GRACE = 2.0


class HeadNode:
    """Rank 0: runs head and driver, and decides whether the job is requeued."""

    def __init__(self, allocation: Allocation, context: JobContext, rendezvous: Rendezvous) -> None:
        """Ask SLURM when the job will end."""
        self.allocation, self.context, self.rendezvous = allocation, context, rendezvous
        self.warned = False
        self.end = end_time(context.job)

    def run(self) -> str:
        """Run the campaign until it is done or the job ends; returns why it ended."""
        from inpaint_hpc.campaign.run_directory import RunDirectory

        ended, units = "it failed", 0
        try:
            with self._signals():
                run = RunDirectory(self.allocation.run_path)
                report = self._drive(run)
                units = report.state.units_done + report.state.isolated
                ended = self._verdict(report.stopped, report.tasks_pending)
                if not report.tasks_pending and self.allocation.collect:
                    self._collect(run)
        except (JobTerminated, KeyboardInterrupt):
            ended = "warned" if self.warned else "ended by SLURM"
        except ClusterError as error:
            if self.context.restarts >= ATTEMPTS_WITHOUT_PROGRESS:
                raise
            ended = f"requeued, {error}"
        except BaseException as error:
            ended = one_line(error)
            raise
        finally:
            if ended.startswith(("stopped by SIGTERM", "ended by SLURM")) and _still_runs(self.context.job):
                ended = "requeued, nobody cancelled the job, so it was preempted"
            self.rendezvous.end(ended, units)  # the other nodes stop when they see it
        if ended.startswith(("warned", "time", "requeued")):
            self._require_progress(ended, units)
            requeue(self.context)
        return ended

    def _drive(self, run: RunDirectory) -> DriveReport:
        from inpaint_hpc.cluster.driver import DriveOptions, drive
        from inpaint_hpc.cluster.ray.executor import RayExecutor
        from inpaint_hpc.cluster.ray.node import clean_up, write_token
        from inpaint_hpc.cluster.ray.slots import ActorSettings

        allocation, context = self.allocation, self.context
        clean_up(run.path)
        problem = allocation.problem(context, run)
        if problem:
            log(context, problem)
            if context.nodes == 1 or __version__ != allocation.version:
                raise InputError(problem)
            # The other nodes continue: this node keeps head and driver, but has no workers.
        device, actors, threads = allocation.workers(context, run.config.resources)
        analysis = analysis_processes(run.config.resources.analysis, device, context.cpus, actors)
        # Only of `ShardWorker` is it known that it may run several.
        at_once = 1 if allocation.factory else units_at_once(run.config.resources.units_at_once, device, analysis)
        address = node_address(context)
        for token in self.rendezvous.folder.glob("token-*"):  # left by attempts that were killed
            token.unlink(missing_ok=True)
        write_token(self.rendezvous.token)
        self.rendezvous.publish_node(context, address, problem)
        node = make_node(self.allocation.run_path, context, self.rendezvous, device, threads, address, None)
        if problem:
            node.cpus = node.gpus = 0
        cluster = _PublishedHead(node, self.rendezvous, lambda text: log(context, text))
        share = min(1.0, context.gpus / actors) if device == "cuda" else 1.0
        executor = RayExecutor(
            run.path,
            cluster,
            actors * (context.nodes - bool(problem)),
            ActorSettings(device, threads, int(share * 1e4) / 1e4, at_once),
            worker_factory(allocation.factory, analysis),
            label=context.job,
        )
        stop_at = None if self.end is None else self.end - allocation.warning_seconds
        limit = "without a time limit" if self.end is None else f"{self.end - time.time():.0f} s to go"
        beside = f" with {analysis} process{'es' * (analysis > 1)} for the analysis each" if analysis else ""
        beside += f", {at_once} units at once," if at_once > 1 else ""
        log(context, f"{actors * context.nodes} workers{beside} on {context.nodes} nodes, {device}, {limit}")
        name, timeout = f"driver-{context.job}", allocation.claim_timeout
        options = DriveOptions(stop_at=stop_at, name=name, grace=_GRACE, claim_timeout=timeout)
        return drive(run, executor, options=options)

    def _collect(self, run: RunDirectory) -> None:
        """Make the archive, unless another allocation of the same campaign is making it or has made it."""
        from inpaint_hpc.campaign.run_results import collect_run
        from inpaint_hpc.cluster.shard_claims import Claims

        claims = Claims(run.path, f"collect-{self.context.job}", self.allocation.claim_timeout)
        claims.open(alone=True)
        try:
            # One past the last shard stands for the archive.
            if not claims.take(run.n_shards) or _is_newest(run):
                log(self.context, "another allocation makes the archive")
                return
            collect_run(run)
            log(self.context, f"made {run.archive_path}")
        finally:
            claims.close()

    def _verdict(self, stopped: str, pending: int) -> str:
        if not pending:
            return "done"
        if self.warned:
            return f"warned, {pending} tasks are left"
        if stopped == "others":
            return f"the rest, {pending} tasks, is in the hands of other jobs"
        if stopped == "time":
            return f"time is up, {pending} tasks are left"
        return f"stopped by {stopped}, {pending} tasks are left"

    def _require_progress(self, ended: str, units: int) -> None:
        """Refuse to requeue for ever when allocations are too short for a single unit; preemption does not count.

        Raises:
            InputError: the last attempts all ran out of time without finishing a unit.
        """
        former = self.rendezvous.former(ATTEMPTS_WITHOUT_PROGRESS - 1)
        attempts = [(ended, units), *((record["reason"], record["units"]) for record in former)]
        if len(attempts) < ATTEMPTS_WITHOUT_PROGRESS or any(n or not why.startswith("time") for why, n in attempts):
            return
        raise InputError(
            f"{self.allocation.run_path}: not one unit was finished in {ATTEMPTS_WITHOUT_PROGRESS} allocations; submit "
            "again with a longer --time, or create the run again with a smaller resources.shard_minutes"
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """USR2 is the warning: stop as for SIGTERM, then requeue.  The driver has its own handler for SIGTERM."""

        def warn(number: int, frame: FrameType | None) -> None:
            left = float("inf") if self.end is None else self.end - time.time()
            if left < self.allocation.warning_seconds + _EARLY:
                return  # warning of the time limit, up to a minute early; the driver stops in time without it
            self.warned = True
            log(self.context, "SLURM wants the nodes back")
            os.kill(os.getpid(), signal.SIGTERM)

        with handlers({signal.SIGUSR2: warn, signal.SIGTERM: end_process, signal.SIGCONT: signal.SIG_IGN}):
            yield


class _PublishedHead:
    """A Ray head that publishes its address to the other nodes each time it starts."""

    def __init__(self, node: RayNode, rendezvous: Rendezvous, log: Callable[[str], None]) -> None:
        self._node, self._rendezvous, self._log = node, rendezvous, log

    @property
    def address(self) -> str | None:
        return self._node.address

    @property
    def environment(self) -> dict[str, str]:
        return self._node.environment

    def start(self) -> None:
        # SLURM sends USR2 to all processes, which would kill those of Ray; they inherit the blocked signal mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            self._node.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._node.address is not None
        self._rendezvous.publish_head(self._node.address)
        self._log(f"Ray head at {self._node.address}")

    def alive(self) -> bool:
        return self._node.alive()

    def last_words(self, pid: int) -> str:
        return self._node.last_words(pid)

    def stop(self) -> None:
        self._node.stop()


def _still_runs(job: str) -> bool:
    """Whether SLURM would consider the job completed if it ended now, as in the grace time before preemption."""
    try:
        return job_fields(job).get("JobState") == "RUNNING"
    except InpaintHpcError:
        return False


def _is_newest(run: RunDirectory) -> bool:
    """Whether the archive was made after the last result."""
    try:
        made = run.archive_path.stat().st_mtime_ns
    except OSError:
        return False
    return all(path.stat().st_mtime_ns < made for path in run.result_paths())
