"""Ray actors with several units in flight: the same archive, and a death is blamed on the right unit."""

import subprocess
import sys
import time

import psutil

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.journal import read_journal
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.work_units import WorkUnit
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.driver import drive
from inpaint_hpc.cluster.local import Workers, choose_workers, make_executor, run_campaign
from inpaint_hpc.cluster.processes import RUN, marked


def slow():
    """Workers slow enough for all places of an actor to be taken, and to be killed in time."""

    class Slow(ShardWorker):  # in here, so that it is pickled whole
        def __init__(self, *arguments):
            super().__init__(*arguments, analysis=1)

        def run_unit(self, unit):
            import time

            time.sleep(0.7)
            return super().run_unit(unit)

    return Slow


def inline(run):
    """The archive of a run, made in this process one unit at a time."""
    drive(run, make_executor(run.path, Workers(1, "cpu", 1), "inline"))
    return collect_run(run).path


def test_an_actor_that_is_killed_with_several_units(tiny_run, tmp_path):
    runs = [tiny_run(tmp_path / name, ("Li", "Na"), min_shards=14) for name in ("inline", "ray")]
    run, killed = runs[1], []
    executor = make_executor(run.path, Workers(2, "cpu", 1, units_at_once=3), factory=slow())

    def kill(_):
        full = [worker.pid for worker in executor.workers() if len(worker.units) == 3]
        if full and not killed:
            psutil.Process(full[0]).kill()
            killed.append(full[0])

    report = drive(run, executor, kill)
    assert killed and report.tasks_pending == 0 and report.state.failed == report.state.isolated == 0
    assert marked({RUN: str(run.path.resolve())}) == []
    found = compare(inline(runs[0]), collect_run(run).path)
    assert found.equal and found.tasks == 14 and found.samples == found.identical


def test_a_driver_that_is_killed_and_resumed(tiny_run, tmp_path):
    each = {"analysis": 2, "units_at_once": 3}
    options = {"guests": ("Li", "Na"), "min_shards": 14, "samples": 32}
    runs = [tiny_run(tmp_path / name, **options, each=more) for name, more in (("inline", {}), ("ray", each))]
    run = runs[1]
    assert run.id == runs[0].id
    with subprocess.Popen([sys.executable, "-m", "inpaint_hpc", "resume", str(run.path), "--no-collect"]) as driver:
        while not run.result_units():
            assert driver.poll() is None
            time.sleep(0.05)
        driver.kill()
    deadline = time.monotonic() + 600.0
    while marked({RUN: str(run.path.resolve())}):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run_campaign(run).tasks_pending == 0
    assert marked({RUN: str(run.path.resolve())}) == []
    found = compare(inline(runs[0]), collect_run(run).path)
    assert found.equal and found.tasks == 14 and found.samples == found.identical


def test_only_the_unit_that_ends_actors_is_blamed(tiny_run, tmp_path):
    runs = [tiny_run(tmp_path / name, ("Li",), min_shards=7) for name in ("inline", "ray")]
    run = runs[1]
    killer = next(unit for unit in run.pending_units() if len(unit) == 1)

    class Killed(slow()):
        def run_unit(self, unit):
            import os
            import time

            if unit.shard == killer.shard:
                time.sleep(0.3)  # the others have begun
                os._exit(1)
            return super().run_unit(unit)

    report = drive(run, make_executor(run.path, Workers(1, "cpu", 1, units_at_once=3), factory=Killed))
    assert report.tasks_pending == 0 and report.state.failed == report.state.isolated == 1
    told = [
        record for record in read_journal(run.path / "logs" / "driver.jsonl") if record["event"] in ("died", "split")
    ]
    assert {record["unit"].split(".")[0] for record in told} == {str(killer.shard)} and len(told) > 2
    with Archive(collect_run(run).path) as archive:
        failures = archive.failures()
        assert failures.id.tolist() == [task.id for task in run.tasks(run.rows(killer))]
        assert "killed its worker" in failures.error[0]
    found = compare(inline(runs[0]), run.archive_path)
    assert (found.only_first, found.only_second, found.different_status) == (0, 0, 1)


def test_a_task_that_crashes_actors_is_found_in_a_unit_of_several(tiny_run, tmp_path):
    runs = [tiny_run(tmp_path / name, ("Li",), min_shards=3) for name in ("inline", "ray")]
    run = runs[1]
    unit = next(unit for unit in run.pending_units() if len(unit) > 1)
    guilty = WorkUnit(unit.shard, unit.stop - 1, unit.stop)

    class Crashed(slow()):
        def run_unit(self, unit):
            import os
            import signal
            import time

            if unit.shard == guilty.shard and unit.stop == guilty.stop:
                time.sleep(0.3)  # the others have begun
                os.kill(os.getpid(), signal.SIGSEGV)
            return super().run_unit(unit)

    report = drive(run, make_executor(run.path, Workers(1, "cpu", 1, units_at_once=3), factory=Crashed))
    assert report.tasks_pending == 0 and report.state.failed == report.state.isolated == 1
    with Archive(collect_run(run).path) as archive:
        assert archive.failures().id.tolist() == [task.id for task in run.tasks(run.rows(guilty))]
    found = compare(inline(runs[0]), run.archive_path)
    assert (found.only_first, found.only_second, found.different_status) == (0, 0, 1)


def test_the_first_actor_that_is_up_leaves_others_their_share(tmp_path):
    executor = make_executor(tmp_path, Workers(2, "cpu", 1, units_at_once=3))
    assert executor.idle() == 0
    executor._slots[0].hello = {"name": "first"}
    assert [executor.idle(left) for left in (None, 1, 2, 4, 100)] == [3, 1, 1, 2, 3]


def test_how_many_a_worker_gets():
    assert choose_workers(2, 1, "cpu").units_at_once == 1
    assert choose_workers(2, 1, "cpu", 3, 2) == Workers(2, "cpu", 1, analysis=3, units_at_once=2)
