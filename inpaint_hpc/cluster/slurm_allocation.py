"""What runs in an allocation, once per node: rank 0 has the Ray head and the driver, the others are Ray nodes.

Nothing here remembers anything: a requeued job runs the same pickle again, and what is done is what lies in the run
directory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import inpaint_hpc
from inpaint_hpc.errors import InpaintHpcError, InputError

from .executor import ClusterError, one_line
from .slurm_jobs import end_time, slurm
from .slurm_meeting import Meeting, Place, here, node_address

# Nodes that are cut off are noticed after about ten seconds; Ray's own defaults take more than half a minute.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
# SLURM warns of time limits once a minute, those that will come within the next one, too.
_EARLY = 75.0
LIVES_WITHOUT_PROGRESS = 3
_STARTS = 5


class Ended(BaseException):
    """SLURM ends this process; passes through every `except Exception`."""


@dataclass(frozen=True)
class Allocation:
    """The callable that submitit pickles; it holds paths and numbers, nothing of the campaign.

    Attributes:
        run_path: the run directory.
        version: of inpaint_hpc that submitted it.
        actors, threads, device: workers per node; None takes what the campaign's configuration says.
        warning_seconds: s before the end of the allocation at which all results must be written.
        head_timeout: s without a sign of life of rank 0 after which the others have the job requeued.
        collect: make the archive when everything is done.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.
    """

    run_path: str
    version: str
    actors: int | None = None
    threads: int | None = None
    device: str | None = None
    warning_seconds: int = 60
    head_timeout: float = 150.0
    collect: bool = True
    factory: Callable[..., Any] | None = None

    def __call__(self) -> str:
        """Run this node's part; how it ended, in one line."""
        place = here()
        meeting = Meeting(self.run_path, place.job, place.life)
        meeting.open()
        _say(place, f"life {place.life} of job {place.job} on {place.node}, {place.cpus} cpus, {place.gpus} gpus")
        if inpaint_hpc.__version__ != self.version:
            raise InputError(
                f"{place.node}: inpaint_hpc {inpaint_hpc.__version__} in {sys.prefix}, but {self.version} submitted "
                "this job; make the same installation visible on all nodes, or submit again"
            )
        part = _Head(self, place, meeting) if place.rank == 0 else _Member(self, place, meeting)
        try:
            ended = part.run()
        except Ended:
            ended = "ended by SLURM"
        _say(place, ended)
        return ended

    def workers(self, place: Place, resources: Any) -> tuple[str, int, int]:
        """Device, workers and their torch threads on a node; the campaign's `resources` say what is not set here."""
        from .ray_node import visible_gpus

        device = self.device or resources.device
        if device == "auto":
            device = "cuda" if place.gpus and visible_gpus() else "cpu"
        actors = self.actors or (None if resources.actors == "auto" else int(resources.actors))
        return device, *workers_per_node(place, device, actors, self.threads or resources.threads)

    def checkpoint(self) -> Any:
        """What submitit requeues when SLURM's warning comes before we are there to take it: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Head:
    """Rank 0: head, driver, and the one who decides whether the job is requeued."""

    def __init__(self, allocation: Allocation, place: Place, meeting: Meeting) -> None:
        self.allocation, self.place, self.meeting = allocation, place, meeting
        self.warned = False
        self.end = end_time(place.job)

    def run(self) -> str:
        from inpaint_hpc.campaign.run_directory import RunDirectory

        ended, units = "it failed", 0
        try:
            with self._signals():
                run = RunDirectory(self.allocation.run_path)
                report = self._drive(run)
                units = report.state.units_done + report.state.isolated
                ended = self._verdict(report.stopped, report.tasks_pending)
                if not report.tasks_pending and self.allocation.collect:
                    _collect(run)
        except (Ended, KeyboardInterrupt):
            ended = "warned" if self.warned else "ended by SLURM"
        except ClusterError as error:
            if self.place.life >= LIVES_WITHOUT_PROGRESS:
                raise
            ended = f"requeued, {error}"
        except BaseException as error:
            ended = one_line(error)
            raise
        finally:
            self.meeting.end(ended, units)  # the other nodes go home when they see it
        if ended.startswith(("warned", "time", "requeued")):
            self._require_progress(units)
            requeue(self.place)
        return ended

    def _drive(self, run: Any) -> Any:
        from .driver import drive
        from .ray_actors import RayExecutor
        from .ray_node import clean_up, write_token

        allocation, place = self.allocation, self.place
        clean_up(run.path)
        device, actors, threads = allocation.workers(place, run.config.resources)
        address = node_address(place)
        for token in self.meeting.folder.glob("token-*"):  # of lives that were killed
            token.unlink(missing_ok=True)
        write_token(self.meeting.token)
        self.meeting.publish_node(place, address)
        node = _make_node(self.allocation, place, self.meeting, device, threads, address, None)
        cluster = _PublishedHead(node, self.meeting, lambda text: _say(place, text))
        share = min(1.0, place.gpus / actors) if device == "cuda" else 1.0
        executor = RayExecutor(
            run.path, cluster, actors * place.nodes, device, threads, int(share * 1e4) / 1e4, allocation.factory
        )
        stop_at = None if self.end is None else self.end - allocation.warning_seconds
        limit = "without a time limit" if self.end is None else f"{self.end - time.time():.0f} s to go"
        _say(place, f"{actors * place.nodes} workers on {place.nodes} nodes, {device}, {limit}")
        return drive(run, executor, None, stop_at, name=f"driver-{place.job}")

    def _verdict(self, stopped: str, pending: int) -> str:
        if not pending:
            return "done"
        if self.warned:
            return f"warned, {pending} tasks are left"
        if stopped == "time":
            return f"time is up, {pending} tasks are left"
        return f"stopped by {stopped}, {pending} tasks are left"

    def _require_progress(self, units: int) -> None:
        """Do not go round for ever in allocations that are too short for anything."""
        former = self.meeting.former(LIVES_WITHOUT_PROGRESS - 1)
        if units or len(former) < LIVES_WITHOUT_PROGRESS - 1 or any(record["units"] for record in former):
            return
        raise InputError(
            f"{self.allocation.run_path}: not one unit was finished in {LIVES_WITHOUT_PROGRESS} allocations; submit "
            "again with a longer --time, or create the run again with a smaller resources.shard_minutes"
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """USR2 is the warning: stop as for SIGTERM, then requeue.  The driver has its own handler for SIGTERM."""

        def warn(number: int, frame: Any) -> None:
            left = float("inf") if self.end is None else self.end - time.time()
            if left < self.allocation.warning_seconds + _EARLY:
                return  # of the time limit, up to a minute early; the driver stops in time without it
            self.warned = True
            _say(self.place, "SLURM wants the nodes back")
            os.kill(os.getpid(), signal.SIGTERM)

        with _handlers({signal.SIGUSR2: warn, signal.SIGTERM: _end, signal.SIGCONT: signal.SIG_IGN}):
            yield


class _PublishedHead:
    """A Ray head that tells the other nodes where it is, each time it starts."""

    def __init__(self, node: Any, meeting: Meeting, say: Callable[[str], None]) -> None:
        self._node, self._meeting, self._say = node, meeting, say

    @property
    def address(self) -> str | None:
        return self._node.address

    @property
    def environment(self) -> dict[str, str]:
        return self._node.environment

    def start(self) -> None:
        # SLURM sends USR2 to all processes, and those of Ray would die of it; they inherit that it is blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            self._node.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._meeting.publish_head(self._node.address)
        self._say(f"Ray head at {self._node.address}")

    def alive(self) -> bool:
        return self._node.alive()

    def last_words(self, pid: int) -> str:
        return self._node.last_words(pid)

    def stop(self) -> None:
        self._node.stop()


class _Member:
    """Ranks above 0: a Ray node that follows the head, and asks for a new life when the head is gone."""

    def __init__(self, allocation: Allocation, place: Place, meeting: Meeting) -> None:
        self.allocation, self.place, self.meeting = allocation, place, meeting
        self.beat: Any = None
        self.beaten = time.monotonic()
        self.node: Any = None
        self.joined: Any = None
        self.starts = 0

    def run(self) -> str:
        with _handlers({signal.SIGUSR2: signal.SIG_IGN, signal.SIGTERM: _end, signal.SIGCONT: signal.SIG_IGN}):
            try:
                return self._follow()
            finally:
                if self.node is not None:
                    self.node.stop()

    def _follow(self) -> str:
        self.meeting.publish_node(self.place, node_address(self.place))
        while True:
            ended = self.meeting.ended()
            if ended is not None:
                return f"the head says: {ended['reason']}"
            if self._head_is_silent():
                requeue(self.place)
                return f"the head gave no sign of life for {self.allocation.head_timeout:.0f} s, the job is requeued"
            head = self.meeting.head()
            if head is not None and (self.joined != head or self.starts < _STARTS):
                self._join(head)
            time.sleep(1.0)

    def _join(self, head: dict[str, Any]) -> None:
        from inpaint_hpc.campaign.run_directory import RunDirectory

        if self.node is not None and self.joined == head and self.node.alive():
            return
        if self.joined == head:
            _say(self.place, "the Ray node ended, it is started again")
        if self.node is not None:
            self.node.stop()
        self.starts = self.starts + 1 if self.joined == head else 1
        self.joined = head
        address = node_address(self.place)
        device, _, threads = self.allocation.workers(
            self.place, RunDirectory(self.allocation.run_path).config.resources
        )
        self.node = _make_node(self.allocation, self.place, self.meeting, device, threads, address, head["address"])
        try:
            self.node.start(timeout=60.0)
            _say(self.place, f"joined {head['address']} as {address}")
        except InpaintHpcError as error:
            # Not the end of the others: they go on with fewer workers.
            _say(self.place, f"cannot join (attempt {self.starts} of {_STARTS}): {error}")

    def _head_is_silent(self) -> bool:
        """By change and not by time of its heartbeat: clocks of nodes differ."""
        with contextlib.suppress(OSError):
            beat = (Path(self.allocation.run_path) / f"driver-{self.place.job}.json").stat().st_mtime_ns
            if beat != self.beat:
                self.beat, self.beaten = beat, time.monotonic()
        return time.monotonic() - self.beaten > self.allocation.head_timeout


def workers_per_node(place: Place, device: str, actors: int | None, threads: int | None) -> tuple[int, int]:
    """Workers on each node, and torch threads of each.

    Args:
        place: what there is.
        device: 'cpu' or 'cuda'.
        actors: per node; None takes one per GPU, or one per `threads` processors.
        threads: None shares the processors out; without `actors`, too, each worker has one.

    Raises:
        InputError: CUDA asked for, but SLURM gave no GPUs.
    """
    if device == "cuda" and not place.gpus:
        raise InputError(f"{place.node}: SLURM gave this job no GPUs; submit with --gpus-per-node or --gres")
    if actors is None:
        actors = place.gpus if device == "cuda" else max(1, place.cpus // (threads or 1))
    return actors, threads or max(1, place.cpus // actors)


def _make_node(
    allocation: Allocation, place: Place, meeting: Meeting, device: str, threads: int, address: str, head: str | None
) -> Any:
    from .ray_node import RayNode

    # torch and the BLAS below it read these when they are loaded.
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return RayNode(
        allocation.run_path,
        cpus=max(place.cpus, threads),
        gpus=place.gpus if device == "cuda" else 0,
        token=meeting.token,
        address=head,
        ip=address,
        variables=variables | _HEALTH,
    )


def requeue(place: Place) -> None:
    """Put this job back into the queue, which ends it; it runs again with a life more.

    Raises:
        SlurmError: SLURM refuses or does not answer, also not after several attempts.
        Ended: it was put back, and this process is told to end.
    """
    for attempt in range(5):
        try:
            slurm("scontrol", "requeue", place.job, timeout=60.0)
            break
        except InpaintHpcError:
            if attempt == 4:
                raise
            time.sleep(10.0)
    _say(place, f"requeued job {place.job}")
    # Returning would end the job as completed before SLURM has come to end it.
    with contextlib.suppress(Ended), _handlers({signal.SIGTERM: _end}):
        time.sleep(120.0)


def _collect(run: Any) -> None:
    from inpaint_hpc.archive.collect import collect
    from inpaint_hpc.archive.inputs import inputs_of

    found = inputs_of([run.path])
    collect(found.files, run.archive_path, found.attributes, found.expected)


def _end(number: int, frame: Any) -> NoReturn:
    raise Ended


@contextlib.contextmanager
def _handlers(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(place: Place, text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} rank {place.rank}: {text}", flush=True)
