"""The other ranks of an allocation: Ray nodes that follow the head."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import Any

from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.errors import InpaintHpcError

from .allocation import Allocation
from .job_step import end_process, handlers, log, make_node, requeue
from .rendezvous import JobContext, Rendezvous, node_address

_STARTS = 5


class WorkerNode:
    """Ranks above 0: a Ray node that follows the head, and requeues the job if the head is gone."""

    def __init__(self, allocation: Allocation, context: JobContext, rendezvous: Rendezvous) -> None:
        """Begin without a node; the silence of the head counts from now."""
        self.allocation, self.context, self.rendezvous = allocation, context, rendezvous
        self.beat: Any = None
        self.beaten = time.monotonic()
        self.node: Any = None
        self.joined: Any = None
        self.starts = 0

    def run(self) -> str:
        """Follow the head until the job ends; returns why it ended."""
        with handlers({signal.SIGUSR2: signal.SIG_IGN, signal.SIGTERM: end_process, signal.SIGCONT: signal.SIG_IGN}):
            try:
                return self._follow()
            finally:
                if self.node is not None:
                    self.node.stop()

    def _follow(self) -> str:
        run = RunDirectory(self.allocation.run_path)
        problem = self.allocation.problem(self.context, run)
        try:
            address = node_address(self.context)
        except InpaintHpcError as error:
            address, problem = "", problem or str(error)
        self.rendezvous.publish_node(self.context, address, problem)
        if problem:
            log(self.context, f"{problem}; the other nodes continue without this one")
        while True:
            ended = self.rendezvous.ended()
            if ended is not None:
                return f"the head says: {ended['reason']}"
            if self._head_is_silent():
                requeue(self.context)
                return f"the head gave no sign of life for {self.allocation.head_timeout:.0f} s, the job is requeued"
            head = self.rendezvous.head()
            if not problem and head is not None and (self.joined != head or self.starts < _STARTS):
                self._join(head)
            time.sleep(1.0)

    def _join(self, head: dict[str, Any]) -> None:
        if self.node is not None and self.joined == head and self.node.alive():
            return
        if self.joined == head:
            log(self.context, "the Ray node ended, it is started again")
        if self.node is not None:
            self.node.stop()
        self.starts = self.starts + 1 if self.joined == head else 1
        self.joined = head
        address = node_address(self.context)
        device, _, threads = self.allocation.workers(
            self.context, RunDirectory(self.allocation.run_path).config.resources
        )
        self.node = make_node(
            self.allocation.run_path, self.context, self.rendezvous, device, threads, address, head["address"]
        )
        try:
            self.node.start(timeout=60.0)
            log(self.context, f"joined {head['address']} as {address}")
        except InpaintHpcError as error:
            # The other nodes continue with fewer workers.
            log(self.context, f"cannot join (attempt {self.starts} of {_STARTS}): {error}")

    def _head_is_silent(self) -> bool:
        """Judged by changes of its heartbeat, not by the time in it: clocks of nodes differ."""
        with contextlib.suppress(OSError):
            beat = (Path(self.allocation.run_path) / f"driver-{self.context.job}.json").stat().st_mtime_ns
            if beat != self.beat:
                self.beat, self.beaten = beat, time.monotonic()
        return time.monotonic() - self.beaten > self.allocation.head_timeout
