"""Several drivers on one run: every unit once, also when one of them dies, hangs, or has split a shard."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster import driver as driver_module
from inpaint_hpc.cluster import shard_sharing
from inpaint_hpc.cluster.driver import DriveOptions, drive
from inpaint_hpc.cluster.inline_executor import InlineExecutor
from inpaint_hpc.cluster.shard_claims import Claims

_DRIVE = """
import json, sys, time
from inpaint_hpc.cluster import shard_sharing
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.driver import DriveOptions, drive
from inpaint_hpc.cluster.inline_executor import InlineExecutor

class Slow(ShardWorker):
    def run_unit(self, unit):
        print(unit, flush=True)
        time.sleep(float(sys.argv[3]))
        return super().run_unit(unit)

shard_sharing._LOOK_SECONDS = 0.1
run = RunDirectory(sys.argv[1])
name = sys.argv[2]
make = lambda *arguments: Slow(*arguments[:3], f"worker-{name}")
report = drive(run, InlineExecutor(run.path, "cpu", 1, make), options=DriveOptions(name=f"driver-{name}"))
print(json.dumps({"left": report.tasks_pending, "done": report.state.units_done}), flush=True)
"""


def driver(run, name, seconds):
    command = [sys.executable, "-c", _DRIVE, str(run.path), name, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_drivers_do_every_unit_once(tiny_run, reference):
    run = tiny_run()
    both = [driver(run, name, 0.3) for name in ("a", "b")]
    said = [process.communicate(timeout=6000)[0].split("\n")[:-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    units = [unit for lines in said for unit in lines[:-1]]
    assert sorted(units) == sorted(str(unit) for unit in run.result_units())
    assert all(json.loads(lines[-1])["left"] == 0 for lines in said)
    same = compare(reference, collect_run(run).path)
    assert same.same_tasks and same.identical == same.samples
    assert list((run.path / "claims").iterdir()) == []


def test_what_a_killed_driver_had_in_hand_is_done_by_the_other(tiny_run):
    run = tiny_run(min_shards=3)
    stuck = driver(run, "stuck", 600)
    in_hand = stuck.stdout.readline().strip()
    helper = driver(run, "helper", 0)
    done = [helper.stdout.readline().strip() for _ in range(run.n_shards - 1)]
    assert in_hand not in done
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    # Seen from another machine its heartbeat would have to become old first.
    assert helper.stdout.readline().strip() == in_hand
    assert json.loads(helper.communicate(timeout=600)[0])["left"] == 0
    stuck.stdout.close()


def test_an_idle_driver_helps_one_that_is_much_too_slow(tiny_run, monkeypatch):
    monkeypatch.setattr(shard_sharing, "SLOW_SECONDS", 1.0)
    monkeypatch.setattr(shard_sharing, "_LOOK_SECONDS", 0.1)
    run = tiny_run(min_shards=3)
    slow = Claims(run.path, "driver-slow")
    slow.open(alone=True)
    assert slow.take(0)
    beating = threading.Event()

    def beat():
        while not beating.wait(0.2):
            slow.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        report = drive(run, InlineExecutor(run.path, "cpu", 1), options=DriveOptions(name="driver-fast"))
    finally:
        beating.set()
        thread.join()
    assert report.tasks_pending == 0 and report.state.units_done == run.n_shards
    slow.release(0)
    slow.close()


def test_parts_that_another_driver_did_are_not_done_again(tiny_run):
    """The other one split its shard, wrote half of it and gave it back after we had listed what is left."""
    run = tiny_run(min_shards=3)
    other = Claims(run.path, "driver-other")
    other.open(alone=True)
    assert other.take(0)
    n = run.shard(0)[1]
    units = []

    class Telling(ShardWorker):
        def run_unit(self, unit: WorkUnit) -> UnitReport:
            units.append(str(unit))
            if len(units) == 1:
                ShardWorker(run.path, "cpu", 1, "other").run_unit(run.unit(0, 0, 2))
                other.release(0)
            return super().run_unit(unit)

    report = drive(run, InlineExecutor(run.path, "cpu", 1, Telling), options=DriveOptions(name="driver-mine"))
    assert report.tasks_pending == 0 and report.state.tasks_done == run.n_tasks
    assert f"0.2-{n}" in units and "0" not in units
    other.close()


@pytest.mark.parametrize("why", ["time", "others"])
def test_a_driver_that_only_waits_for_others_does_not_wait_for_ever(tiny_run, monkeypatch, why):
    run = tiny_run(min_shards=3)
    other = Claims(run.path, "driver-other")
    other.open(alone=True)
    for shard in range(run.n_shards):
        assert other.take(shard)
    monkeypatch.setattr(driver_module, "LINGER_SECONDS", 0.5 if why == "others" else 600.0)
    stop_at = time.time() + (0.5 if why == "time" else 600.0)
    report = drive(run, InlineExecutor(run.path, "cpu", 1), options=DriveOptions(stop_at=stop_at, name="driver-mine"))
    assert report.stopped == why and report.state.units_done == 0 and report.tasks_pending == run.n_tasks
    assert run.result_units() == [] and os.listdir(run.path / "claims")
    other.close()
