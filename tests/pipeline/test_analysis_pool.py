"""Processes for the analysis: order, errors, deaths, and that they never outlive who started them."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ended_processes import gone, running

from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.analysis_pool import AHEAD, AnalysisError, AnalysisPool


@dataclass
class Work:
    """An item: what `do` does with it."""

    name: str
    kind: str = ""
    value: Any = None


class AwkwardError(Exception):
    """Can be pickled, but not read back."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def do(work):
    if work.kind == "segmentation fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if work.kind == "exit":
        os._exit(3)
    if work.kind == "once" and not Path(work.value).exists():
        Path(work.value).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if work.kind == "write":
        with open(work.value, "a") as file:
            file.write(f"{work.name}\n")
    if work.kind == "until":
        while not Path(work.value).exists():
            time.sleep(0.01)
    if work.kind == "raise":
        raise InputError(f"{work.name} is bad")
    if work.kind == "awkward":
        raise AwkwardError(work.name, "cannot be read back")
    if work.kind == "end of file":
        raise EOFError("read too far")
    if work.kind == "lambda":
        return lambda: None
    if work.kind == "environment":
        return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    return work.name, os.getpid()


@pytest.fixture(scope="module")
def pool():
    pool = AnalysisPool(2)
    yield pool
    pool.close()


def works(count, **kinds):
    return [Work(f"w{k}", **kinds.get(f"w{k}", {})) for k in range(count)]


def names(found):
    return [name for name, _ in found]


def test_results_come_in_order_from_other_processes_with_one_thread_and_no_gpu(pool):
    found = list(pool.map(do, works(40)))
    assert names(found) == [f"w{k}" for k in range(40)]
    assert {pid for _, pid in found} <= set(pool.pids) and len(pool.pids) <= 2 and os.getpid() not in pool.pids
    assert list(pool.map(do, [Work("w", "environment")])) == [{"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}]
    assert list(pool.map(do, [])) == []


def test_nothing_is_started_without_work_and_few_items_are_in_flight():
    pool, taken = AnalysisPool(1), []
    assert pool.pids == []

    def items():
        for work in works(50):
            taken.append(work.name)
            yield work

    found = pool.map(do, items())
    assert taken == [] and pool.pids == []
    assert next(found)[0] == "w0" and len(taken) == AHEAD
    found.close()
    pids = pool.pids
    pool.close()
    assert len(pids) == 1 and gone(pids) and pool.pids == []
    assert names(pool.map(do, works(2))) == ["w0", "w1"]  # it may be used again
    pool.close()


def test_an_error_is_what_it_was_there_with_its_traceback(pool):
    found = pool.map(do, works(9, w4={"kind": "raise"}))
    assert names(next(found) for _ in range(4)) == ["w0", "w1", "w2", "w3"]
    with pytest.raises(InputError, match="w4 is bad") as caught:
        next(found)
    text = "".join(traceback.format_exception(caught.value))
    assert "in do" in text and 'raise InputError(f"{work.name} is bad")' in text
    with pytest.raises(RuntimeError, match="AwkwardError: w cannot be read back"):
        list(pool.map(do, [Work("w", "awkward")]))
    with pytest.raises(EOFError, match="read too far"):
        list(pool.map(do, [Work("w", "end of file")]))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(pool.map(do, [Work("w", "lambda")]))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(pool.map(lambda work: work, works(1)))
    assert names(pool.map(do, works(3))) == ["w0", "w1", "w2"]


@pytest.mark.parametrize(("kind", "how"), [("segmentation fault", "SIGSEGV"), ("exit", "exit status 3")])
def test_an_item_that_ends_its_process_is_named_and_costs_no_other(pool, kind, how):
    found = pool.map(do, works(9, w4={"kind": kind}))
    assert names(next(found) for _ in range(4)) == ["w0", "w1", "w2", "w3"]
    with pytest.raises(AnalysisError, match=rf"^w4: its analysis ends the process that it runs in \({how}\)$"):
        next(found)
    assert names(pool.map(do, works(9))) == [f"w{k}" for k in range(9)] and len(pool.pids) <= 2


def test_an_item_whose_process_is_killed_is_tried_again(pool, tmp_path):
    killed = {f"w{k}": {"kind": "once", "value": str(tmp_path / str(k))} for k in (2, 5)}
    assert names(pool.map(do, works(8, **killed))) == [f"w{k}" for k in range(8)]


def test_several_threads_may_use_a_pool(pool):
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda count: names(pool.map(do, works(count))), (20, 9, 15)))
    assert found == [[f"w{k}" for k in range(count)] for count in (20, 9, 15)] and len(pool.pids) <= 2


def waiting(pool):
    return sum(len(line) for line in pool._waiting.values())


def test_the_processes_work_for_the_oldest_caller_first(tmp_path):
    pool, go, done = AnalysisPool(1), tmp_path / "go", tmp_path / "done"

    named = {age: [Work(f"{age}.{k}", "write", done) for k in range(AHEAD)] for age in (2, 1)}
    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(lambda: list(pool.map(do, [Work("first", "until", go)])))]
        while not pool.pids or waiting(pool):
            time.sleep(0.01)
        for number, (age, works) in enumerate(named.items(), start=1):
            futures.append(threads.submit(lambda works=works, age=age: list(pool.map(do, works, age=age))))
            while waiting(pool) < number * AHEAD:
                time.sleep(0.01)
        go.touch()
        for future in futures:
            future.result(600)
    assert done.read_text().split() == [work.name for age in (1, 2) for work in named[age]]
    pool.close()


def test_what_waits_when_a_pool_is_closed_is_cancelled(tmp_path):
    pool = AnalysisPool(1)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(lambda: list(pool.map(do, [Work("w", "until", tmp_path / "never")] * 3)))
        while waiting(pool) < 2:
            time.sleep(0.01)
        pool.close()
        with pytest.raises((AnalysisError, CancelledError)):
            future.result(600)
    assert next(pool.map(do, [Work("again")]))[0] == "again"
    pool.close()


@pytest.mark.parametrize("python", ["/nothing/here", shutil.which("false")])
def test_where_no_process_starts_the_work_is_done_here(monkeypatch, caplog, python):
    monkeypatch.setattr(sys, "executable", python)
    pool = AnalysisPool(2)
    assert list(pool.map(do, works(9))) == [(f"w{k}", os.getpid()) for k in range(9)] and pool.pids == []
    assert "no process can be started for the analysis" in caplog.text and len(caplog.records) <= 2
    monkeypatch.undo()
    pool.close()
    assert os.getpid() not in {pid for _, pid in pool.map(do, works(3))}  # it tries again
    pool.close()


OWNER = """
import sys
from test_analysis_pool import Work, do
from inpaint_hpc.pipeline.analysis_pool import AnalysisPool
pool = AnalysisPool(2)
list(pool.map(do, [Work(str(k)) for k in range(20)]))
print(*pool.pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kill", [True, False])
def test_processes_end_with_their_owner(kill):
    """However it ends: killed, or at its end without closing the pool."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
    ) as owner:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert pids and all(map(running, pids))
        if kill:
            owner.kill()
        owner.stdin.close()
        assert owner.wait(60) == (-signal.SIGKILL if kill else 0)
        assert gone(pids)
