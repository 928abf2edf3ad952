"""Run units on Ray actors: one per GPU, or one per group of CPU threads."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.cluster.executor import (
    DIED,
    DONE,
    LOST,
    RAISED,
    ClusterError,
    Outcome,
    WorkerState,
    one_line,
    shard_worker,
)
from inpaint_hpc.errors import InpaintHpcError, InputError, StorageError
from inpaint_hpc.gpus import BATCHES_OF_SEVERAL_UNITS

from .slots import ActorSettings, Slot
from .unit_actor import UnitActor

_START_ATTEMPTS = 5
_NODE_STARTS = 3
_NODE_ENDED = "the Ray node ended"
_START_TIMEOUT = 300.0  # until the first actor must be ready, s

_LOG = logging.getLogger("inpaint_hpc.workers")


class RayCluster(Protocol):
    """A Ray cluster to connect to: `RayNode`, or that of an allocation (cluster/slurm/head_node.py)."""

    @property
    def address(self) -> str | None:
        """Where to connect; None while it is not started."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that a process needs to join."""

    def start(self) -> None:
        """Start it, or start it again after it broke."""

    def alive(self) -> bool:
        """Whether it is usable."""

    def last_words(self, pid: int) -> str:
        """The end of what a process of the cluster wrote to stderr, if that can be known."""

    def stop(self) -> None:
        """End what `start` started."""


def _revived(kind: str, message: str) -> InpaintHpcError | None:
    return {"StorageError": StorageError, "InputError": InputError}.get(kind, lambda text: None)(message)


class RayExecutor:
    """Actors on a Ray cluster.

    Args:
        run_path: the run directory, the same path on all nodes.
        cluster: the cluster; started and stopped with this executor.
        actors: number of actors.
        each: what each of them gets.
        factory: makes a worker from (run_path, device, threads, name); by default `ShardWorker`.
        label: part of the workers' names, for clusters that share a run and perhaps a host; '' for none.
    """

    def __init__(
        self,
        run_path: str | Path,
        cluster: RayCluster,
        actors: int,
        each: ActorSettings,
        factory: Callable[..., Any] | None = None,
        label: str = "",
    ) -> None:
        """Note what to start; no process is started before `start`."""
        self._run_path = str(Path(run_path).resolve())
        self._cluster = cluster
        self._slots = [Slot(number) for number in range(actors)]
        self._each = each
        self._factory = factory
        self._label = f"{label}-" if label else ""
        self._failed_starts = 0
        self._interrupted = False
        self._notes: set[str] = set()
        self._waiting_since = 0.0
        self._outcomes: deque[Outcome] = deque()
        self._ray: Any = None
        self._environment: dict[str, str | None] = {}

    def start(self) -> None:
        """Start the cluster and ask for the actors.

        Raises:
            ClusterError: Ray does not start, several times in a row.
            InputError: no place for its files.
        """
        try:
            self._bring_up()
        except BaseException:
            self.close()
            raise

    def _bring_up(self) -> None:
        """Try several times: a start fails if one of Ray's processes is killed meanwhile, or resources are short."""
        for attempt in range(1, _NODE_STARTS + 1):
            try:
                self._cluster.start()
                self._connect()
                return
            except ClusterError as error:
                if attempt == _NODE_STARTS or self._interrupted:
                    raise
                _LOG.warning("start %d of %d: %s", attempt, _NODE_STARTS, error)
                self._disconnect()

    def idle(self, left: int | None = None) -> int:
        """Units that actors have room for, where all of them share `left`."""
        most = self._each.units_at_once
        if left is not None:
            most = min(most, -(-left // len(self._slots)))
        return sum(self._room(slot, most) for slot in self._slots)

    def _room(self, slot: Slot, most: int) -> int:
        return 0 if slot.hello is None or slot.alone else max(0, most - len(slot.calls))

    def submit(self, unit: WorkUnit, alone: bool = False) -> None:
        """Send the unit to the actor that has fewest; one that is to be alone waits until that has none."""
        most = self._each.units_at_once
        slot = max(self._slots, key=lambda slot: self._room(slot, most), default=None)
        if slot is None or not self._room(slot, most):
            raise RuntimeError("no worker is idle")
        if alone:
            slot.alone.append(unit)
            self._send_alone(slot)
        else:
            self._send(slot, unit)

    def _send(self, slot: Slot, unit: WorkUnit) -> None:
        slot.calls[slot.actor.run_unit.remote(unit)] = unit

    def _send_alone(self, slot: Slot) -> None:
        if self._interrupted:
            self._lose(slot, slot.alone, "stopped")
            slot.alone.clear()
        elif slot.alone and not slot.calls:
            self._send(slot, slot.alone[0])

    def wait(self, timeout: float) -> list[Outcome]:
        """Units that ended; a broken cluster is started again, and dead actors are replaced."""
        if self._interrupted and not self._cluster.alive():
            # A batch system ends everything at once: restart nothing.
            self._lose_all()
            return self._take_outcomes()
        pending = [reference for slot in self._slots for reference in slot.calls]
        if pending:
            ready, _ = self._ray.wait(pending, timeout=timeout)
            if ready:
                ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
            for slot in list(self._slots):
                answered = [reference for reference in slot.calls if reference in ready]
                if answered:
                    self._collect(slot, answered)
        elif timeout:
            time.sleep(timeout)
        if not self._cluster.alive() and not self._interrupted:
            self._start_again()
        if any(slot.hello for slot in self._slots):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > _START_TIMEOUT:
            raise ClusterError(f"no worker was ready within {_START_TIMEOUT:.0f} s; are the resources free?")
        return self._take_outcomes()

    def _take_outcomes(self) -> list[Outcome]:
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes

    def interrupt(self) -> None:
        """Restart nothing from now on; `wait` returns in time by itself."""
        self._interrupted = True

    def workers(self) -> list[WorkerState]:
        """All actors, also those that are not up yet."""
        return [
            WorkerState(slot.name, slot.hello["pid"] if slot.hello else None, self._each.device, tuple(slot.running))
            for slot in self._slots
        ]

    def close(self) -> None:
        """Close idle workers, disconnect, and stop the cluster; the environment is as before."""
        if self._ray is not None:
            idle = [slot.actor for slot in self._slots if slot.hello is not None and not slot.calls]
            if idle and self._cluster.alive():
                with contextlib.suppress(Exception):
                    self._ray.wait([actor.close.remote() for actor in idle], num_returns=len(idle), timeout=3.0)
            self._disconnect()
        self._cluster.stop()
        _set_environment(self._environment)
        self._environment = {}

    def _connect(self) -> None:
        variables = {"RAY_ADDRESS": None, **self._cluster.environment}
        self._environment = {name: os.environ.get(name) for name in variables} | self._environment
        _set_environment(variables)
        import ray

        self._ray = ray
        with _own_signals():
            try:
                ray.init(
                    address=self._cluster.address,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.CRITICAL,
                )
            except Exception as error:  # ConnectionError, RuntimeError, ValueError ... depending on what is wrong
                raise ClusterError(f"no connection to Ray at {self._cluster.address}: {one_line(error)}") from error
        # We report deaths of workers ourselves; Ray would print a screenful for each.
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        for slot in self._slots:
            self._fill(slot)
        self._waiting_since = time.monotonic()

    def _disconnect(self) -> None:
        for slot in self._slots:
            slot.actor = slot.hello = None
            slot.calls.clear()
        if self._interrupted and not self._cluster.alive():
            return  # Ray would wait for its head, longer than a batch system waits for us
        if self._ray is None:
            return  # never connected
        with _own_signals(), contextlib.suppress(Exception):
            self._ray.shutdown()

    def _start_again(self) -> None:
        """Restart a failed cluster; units in flight are lost, through no fault of their own."""
        self._lose_all()
        self._count_failed_start("the Ray node ended")
        self._disconnect()
        self._bring_up()

    def _lose_all(self) -> None:
        for slot in self._slots:
            self._lose(slot, slot.take_all(), _NODE_ENDED)

    def _lose(self, slot: Slot, units: Iterable[WorkUnit], reason: str) -> None:
        self._outcomes.extend(Outcome(unit, LOST, reason=reason, worker=slot.name) for unit in units)

    def _fill(self, slot: Slot) -> None:
        # The driver alone decides what is retried; Ray would rerun a unit that kills its worker for ever.
        options = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": self._each.units_at_once}
        actor = self._ray.remote(**options, **self._each.resources)(UnitActor)
        slot.actor = actor.remote(
            self._factory or shard_worker(),
            self._run_path,
            self._each.device,
            self._each.threads,
            f"{self._label}{slot.number}",
            self._each.per_gpu * (BATCHES_OF_SEVERAL_UNITS if self._each.units_at_once > 1 else 1.0),
        )
        slot.hello, slot.calls = None, {slot.actor.hello.remote(): None}

    def _collect(self, slot: Slot, answered: Iterable[Any]) -> None:
        """Take the answers of a slot, or notice the death of its actor."""
        broken: tuple[str, str, WorkUnit | None] | None = None
        for reference in answered:  # units that were done before it died are done
            unit = slot.calls[reference]
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:  # e.g. an argument that its process cannot unpickle
                broken = (RAISED, one_line(error.cause if error.cause is not None else error), unit)
            except self._ray.exceptions.RayError as error:
                broken = broken or (DIED, self._cause_of_death(slot, error), unit)
            else:
                del slot.calls[reference]
                if unit is None:
                    self._greet(slot, answer)
                else:
                    self._take(slot, unit, *answer)
        if broken:
            self._bury(slot, *broken)
        elif slot in self._slots:
            self._send_alone(slot)

    def _greet(self, slot: Slot, answer: dict[str, Any]) -> None:
        """Take the first answer of an actor, which says who it is."""
        if answer["error"] is not None:
            self._retire(slot, answer)
            return
        slot.hello = answer
        if answer["note"] and answer["note"] not in self._notes:
            self._notes.add(answer["note"])  # once, not once per worker
            _LOG.warning("worker %s: %s", answer["name"], answer["note"])

    def _take(self, slot: Slot, unit: WorkUnit, report: UnitReport | None, error: tuple[str, str] | None) -> None:
        """Take what became of a unit: its report, or the error that it raised."""
        if unit in slot.alone:
            slot.alone.remove(unit)
        if error is None:
            self._failed_starts = 0
            self._outcomes.append(Outcome(unit, DONE, report, worker=slot.name))
        else:
            fatal = _revived(*error)
            self._outcomes.append(Outcome(unit, RAISED, reason=one_line(error[1]), worker=slot.name, error=fatal))

    def _retire(self, slot: Slot, answer: dict[str, Any]) -> None:
        """Drop a worker that cannot work where it is, e.g. on a node with a broken GPU; the others continue."""
        kind, message = answer["error"]
        error = _revived(kind, message) or ClusterError(f"workers cannot start: {one_line(message)}")
        self._slots.remove(slot)
        if isinstance(error, StorageError) or not self._slots:
            raise error
        _LOG.warning("worker %s is left out: %s", answer["name"], one_line(message))
        self._lose(slot, slot.take_all(), one_line(message))
        with contextlib.suppress(Exception):
            self._ray.kill(slot.actor, no_restart=True)

    def _bury(self, slot: Slot, kind: str, reason: str, unit: WorkUnit | None) -> None:
        """Replace a dead actor; one that is only unreachable may still be running and is killed.

        Of several units that it ran any may have ended it: they run again, each alone, and only one that ends an actor
        then is told.
        """
        alive, name, running = self._cluster.alive(), slot.name, slot.running
        if not running:
            self._count_failed_start(reason)
        left = slot.take_all()
        slot.hello = None
        if unit is not None and alive and (kind == RAISED or len(running) == 1):
            left.remove(unit)
            self._outcomes.append(Outcome(unit, kind, reason=reason, worker=name))
        elif running and alive:
            _LOG.warning("worker %s ended while it ran units %s: %s", name, ", ".join(map(str, running)), reason)
        if self._interrupted or not alive:
            self._lose(slot, left, _NODE_ENDED if not alive else "stopped")
        else:
            slot.alone.extend(left)
            with contextlib.suppress(Exception):
                self._ray.kill(slot.actor, no_restart=True)
            self._fill(slot)

    def _count_failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _START_ATTEMPTS * len(self._slots):
            raise ClusterError(f"workers end before they have done anything: {reason}")

    def _cause_of_death(self, slot: Slot, error: Exception) -> str:
        text = str(error)
        if isinstance(error, self._ray.exceptions.OutOfMemoryError) or "low on memory" in text:
            return "Ray killed it because the machine was low on memory"
        said = self._cluster.last_words(slot.hello["pid"]) if slot.hello else ""
        if said:
            return said
        if "creation task" in text or "__init__" in text:
            return one_line(text.splitlines()[-1])
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return "its process or node cannot be reached"
        return "its process ended without a word: killed, out of memory, or a crash in a library"


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray installs a SIGTERM handler that ends the process on the spot; ours must stay."""
    handlers = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handlers[number] = signal.getsignal(number)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler from C
                signal.signal(number, handler)
