"""Processes in which the analysis of tasks runs beside the caller, for instance while that one waits for its GPU.

They are started anew rather than forked, which neither CUDA nor threads survive, and by a pipe of their own rather than
by `multiprocessing`, which would run the caller's script again in each of them, and hang on where the caller is killed.
Each has one task at a time, so that it is known which of them ends a process.

Example:
    pool = AnalysisPool(4)
    results = run_tasks(network, tasks, sampling, analysis=pool.map)
    pool.close()
"""

from __future__ import annotations

import heapq
import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from inpaint_hpc.errors import InpaintHpcError
from inpaint_hpc.sampling.tasks import Found, Item

_Waiting = tuple[int, int, Future[Any], Callable[[Any], Any], Any]

_LOG = logging.getLogger("inpaint_hpc.workers")

AHEAD = 4  # tasks per process that are in it or wait for it
ATTEMPTS = 2
_CLOSED = "the pool was closed"
_LAST_SECONDS = 10.0  # for a process that closed its pipe to end
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class AnalysisError(InpaintHpcError):
    """A task whose analysis ends the process that it runs in.  The message is one line."""


class AnalysisPool:
    """Processes that apply functions to items; they are started when there is work, and end with this process.

    Args:
        processes: at most so many, at least 1.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._running: dict[int, _Process] = {}  # by place
        self._free = list(range(processes))  # places without work, the last one that had some at the end
        self._cannot_start = False
        self._here = threading.Lock()
        # What waits for any place, and for each; first by the age of its caller, then in the order in which it came.
        self._waiting: dict[int | None, list[_Waiting]] = {place: [] for place in (None, *range(processes))}
        self._number = itertools.count()

    @property
    def pids(self) -> list[int]:
        """Of the processes that were started."""
        with self._lock:
            return [process.pid for process in self._running.values()]

    def map(self, function: Callable[[Item], Found], items: Iterable[Item], /, age: int = 0) -> Iterator[Found]:
        """Results in the order of the items; `function` stands in a module, and all of it can be pickled.

        Several threads may call this; the processes take items with the lowest `age` first.  Shared alike, callers that
        began together would be done together, and then leave the processes without work together.  Items that have a
        number `home` go to the same process if that is equal, as long as it lives.

        Raises:
            AnalysisError: an item that ended its process was tried again, and ended another.
            Exception: what the function raised, with the traceback there as its cause.
        """
        with self._lock:
            if self._threads is None:
                # One for each process, which has something to wait with: they only write to pipes and read from them.
                self._threads = ThreadPoolExecutor(self.processes, thread_name_prefix="analysis")
            threads = self._threads
        waiting: deque[Future[Found]] = deque()
        try:
            for item in items:
                waiting.append(self._submit(threads, age, function, item))
                if len(waiting) >= AHEAD * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, threads: ThreadPoolExecutor, age: int, function: Callable[[Any], Any], item: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._threads is not threads:
                raise AnalysisError(_CLOSED)
            home = getattr(item, "home", None)
            line = self._waiting[None if home is None else home % self.processes]
            heapq.heappush(line, (age, next(self._number), future, function, item))
            threads.submit(self._work, threads)
        return future

    def _work(self, threads: ThreadPoolExecutor) -> None:
        """Take what is first in line for a free place, and go on while there is something."""
        place = None
        while True:
            with self._lock:
                if self._threads is not threads:
                    return
                if place is not None:
                    self._free.append(place)
                lines = [line for line in (None, *self._free) if self._waiting[line]] if self._free else []
                if not lines:
                    return
                line = min(lines, key=lambda line: self._waiting[line][0][:2])
                _, _, future, function, item = heapq.heappop(self._waiting[line])
                place = self._free[-1] if line is None else line
                self._free.remove(place)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._apply(threads, place, function, item))
            except BaseException as error:
                future.set_exception(error)

    def close(self) -> None:
        """End the processes and what they do.  The pool may be used again."""
        with self._lock:
            threads, self._threads = self._threads, None
            waiting = [entry for line in self._waiting.values() for entry in line]
            for line in self._waiting.values():
                line.clear()
            running, self._running, self._cannot_start = self._running, {}, False
            self._free = list(range(self.processes))
        for _, _, future, _, _ in waiting:
            future.cancel()
        for process in running.values():
            process.kill()
        if threads is not None:
            threads.shutdown(cancel_futures=True)
        # Only now: none of the threads reads from them any more.
        for process in running.values():
            process.close()

    def _apply(self, threads: ThreadPoolExecutor, place: int, function: Callable[[Item], Found], item: Item) -> Found:
        how = ""
        for _ in range(ATTEMPTS):
            process = self._process(threads, place)
            if process is None:
                with self._here:
                    return function(item)
            try:
                answer = process.ask(function, item)
            except (EOFError, OSError):
                how = self._bury(place, process)
            else:
                return answer.value()
        raise AnalysisError(f"{item.name}: its analysis ends the process that it runs in ({how})")

    def _process(self, threads: ThreadPoolExecutor, place: int) -> _Process | None:
        """That of a place; None where none can be started, as without memory: no task fails because of that."""
        with self._lock:
            if self._threads is not threads:
                raise AnalysisError(_CLOSED)
            if place in self._running:
                return self._running[place]
            if self._cannot_start:
                return None
            try:
                process = self._running[place] = _Process()
            except OSError as error:
                self._do_without(str(error))
                return None
        try:
            process.greet()
        except (EOFError, OSError):
            why = self._bury(place, process)
        else:
            return process
        with self._lock:
            if self._threads is not threads:
                raise AnalysisError(_CLOSED)
            self._do_without(why)
        return None

    def _do_without(self, why: str) -> None:
        self._cannot_start = True
        _LOG.warning("no process can be started for the analysis (%s): the worker does what is left to do", why)

    def _bury(self, place: int, process: _Process) -> str:
        with self._lock:
            if self._running.get(place) is process:  # not closed meanwhile
                del self._running[place]
        return process.bury()


class Answer:
    """What became of an item: a result, or an error with its traceback as text."""

    def __init__(self, result: Any = None, error: Exception | None = None, trace: str = "") -> None:
        self.result, self.error, self.trace = result, error, trace

    def value(self) -> Any:
        """The result; raises the error."""
        if self.error is not None:
            raise self.error from _RemoteError(self.trace)
        return self.result


class _RemoteError(Exception):
    """The traceback in the other process, as the cause of an error that came from there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Process:
    """One process and our end of its pipe; it ends when that is closed, be it by the death of this process."""

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        # Its GPUs are hidden: it needs none, and a context on one takes memory.
        variables = {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "CUDA_VISIBLE_DEVICES": "",
        }
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "inpaint_hpc.pipeline.analysis_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD, **variables},
                pass_fds=[theirs.fileno()],
            )
        self.pid = self._child.pid

    def greet(self) -> None:
        """Wait until it is up.

        Raises:
            EOFError, OSError: it ended before.
        """
        self._pipe.recv_bytes()

    def ask(self, function: Callable[[Any], Any], item: Any) -> Answer:
        """Apply a function to an item.

        Raises:
            EOFError, OSError: the process ended.
        """
        self._pipe.send((function, item))
        return self._pipe.recv()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._child.kill()
        self._child.wait()

    def bury(self) -> str:
        """How it ended: it has closed its end of the pipe."""
        try:
            status = self._child.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        self.close()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def close(self) -> None:
        """Close our end of the pipe."""
        self._pipe.close()
