"""The driver with the real worker in this process: order, failures, full disks, damage, stops."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.driver import DriveOptions, drive
from inpaint_hpc.cluster.driver_lock import DriverLock
from inpaint_hpc.cluster.executor import ClusterError
from inpaint_hpc.cluster.inline_executor import InlineExecutor
from inpaint_hpc.errors import InputError, StorageError


def run_inline(run, factory=None, **options):
    progress = options.pop("progress", None)
    return drive(run, InlineExecutor(run.path, "cpu", 1, factory), progress, DriveOptions(**options))


def result_times(run):
    return {path.name: path.stat().st_mtime_ns for path in run.path.glob("results/*/*.h5")}


def never(*_):
    raise AssertionError("there is nothing to do, so no worker is needed")


def test_all_is_done_once_and_expensive_shards_first(tiny_run):
    run, states = tiny_run(), []
    report = run_inline(run, progress=lambda state: states.append(state.tasks_done))
    assert report.stopped == "" and report.tasks_pending == 0
    assert report.state.tasks_done == report.state.tasks == run.n_tasks == 21
    assert report.state.units_done == run.n_shards and report.state.failed == 0
    assert report.state.samples + report.state.invalid == 21 * 2
    assert states and states == sorted(states)
    log = [json.loads(line) for line in (run.path / "logs" / "inline.jsonl").read_text().splitlines()]
    costs = [run.shard(int(record["unit"]))[2] for record in log if record["event"] == "unit done"]
    assert len(costs) == run.n_shards
    assert costs == sorted(costs, reverse=True)
    heartbeat = run.heartbeats()["driver"]
    assert heartbeat["status"] == "done" and heartbeat["tasks_done"] == 21 and heartbeat["in_flight"] == 0
    assert not (run.path / "driver.lock").exists()
    before = result_times(run)
    assert run_inline(run, factory=never).state.units_done == 0
    assert result_times(run) == before


def test_only_some_shards_and_the_rest_later(tiny_run):
    run = tiny_run()
    report = run_inline(run, shards=[1, 3], name="driver-1")
    assert {unit.shard for unit in run.result_units()} == {1, 3}
    assert report.state.tasks == report.state.tasks_done == run.shard(1)[1] + run.shard(3)[1]
    assert report.tasks_pending == 0
    assert run_inline(run).state.units_done == run.n_shards - 2


def poisoned(shard, task):
    """A worker whose units raise as a whole if they hold a certain task."""

    class PoisonedWorker(ShardWorker):
        def run_unit(self, unit):
            if unit.shard == shard and unit.start <= task < unit.stop:
                raise RuntimeError("cannot be done")
            return super().run_unit(unit)

    return PoisonedWorker


def test_a_task_that_breaks_its_unit_is_isolated(tiny_run):
    run = tiny_run()
    report = run_inline(run, factory=poisoned(2, 1))
    assert report.state.isolated == report.state.failed == 1 and report.tasks_pending == 0
    ids = [task.id for task in run.tasks(range(run.n_tasks))]
    assert collect_run(run).complete
    with Archive(run.archive_path) as archive:
        failures = archive.failures()
        assert failures.id.tolist() == [ids[run.shard(2)[0] + 1]]
        assert "cannot be done" in failures.error[0] and failures.attempts[0] >= 3
        assert sorted(archive.task_ids()) == sorted(ids)


def test_workers_that_break_everything_end_the_drive_and_not_the_campaign(tiny_run):
    run = tiny_run(min_shards=1)

    class BrokenWorker(ShardWorker):
        def run_unit(self, unit):
            raise RuntimeError("no kernel image")

    with pytest.raises(ClusterError, match=r"in a row without finishing a unit.*no kernel image"):
        run_inline(run, factory=BrokenWorker)
    assert len(run.result_units()) < run.n_tasks / 2
    assert run.heartbeats()["driver"]["status"] == "failed"


def test_weights_that_were_exchanged_are_refused(tiny_run):
    run = tiny_run()
    run.weights_path.write_bytes(run.weights_path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="sha256"):
        run_inline(run)
    assert not (run.path / "driver.lock").exists()


@contextlib.contextmanager
def file_size_limit(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_that_cannot_grow_stop_the_drive_and_keep_what_is_done(tiny_run):
    run = tiny_run()
    run_inline(run, shards=[0])
    before = result_times(run)
    with file_size_limit(20_000), pytest.raises(StorageError, match="cannot be written"):
        run_inline(run)
    assert result_times(run) == before and len(before) == 1
    assert not list(run.path.glob("results/*/.*"))
    assert run_inline(run).tasks_pending == 0
    assert before.items() <= result_times(run).items()
    assert collect_run(run).complete


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_and_a_read_only_one_give_one_line_each(tiny_run, small_disk):
    run = tiny_run(small_disk / "run")
    run_inline(run, shards=[0])
    before = result_times(run)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(StorageError) as full:
        run_inline(run)
    assert "No space left on device" in str(full.value) and "\n" not in str(full.value)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageError) as read_only:
        run_inline(run)
    assert "Read-only file system" in str(read_only.value) and "\n" not in str(read_only.value)
    assert result_times(run) == before and run.damaged_units() == {}
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    filler.unlink()
    assert run_inline(run, verify=True).tasks_pending == 0
    assert before.items() <= result_times(run).items()


def test_damaged_results_are_set_aside_and_done_again(tiny_run, caplog):
    run = tiny_run()
    run_inline(run)
    path = run.result_path(run.unit(3))
    path.write_bytes(path.read_bytes()[:-500])
    assert run_inline(run, verify=True).state.units_done == 1
    assert "unit 3 will be computed again" in caplog.text and len(list((run.path / "damaged").iterdir())) == 1
    assert run.damaged_units() == {} and run.pending_units() == []


def test_nothing_is_handed_out_that_would_not_end_in_time(tiny_run):
    run = tiny_run()
    report = run_inline(run, stop_at=time.time() - 1.0)
    assert report.stopped == "time" and report.tasks_pending == 21 and run.result_units() == []

    class SlowWorker(ShardWorker):
        """Says that a unit took an hour; then no other one ends within the next."""

        def run_unit(self, unit):
            return replace(super().run_unit(unit), seconds=3600.0)

    report = run_inline(run, factory=SlowWorker, stop_at=time.time() + 3600.0)
    assert report.stopped == "time" and report.state.units_done == 1
    assert run_inline(run).tasks_pending == 0


def test_a_second_driver_is_refused(tiny_run):
    run = tiny_run()
    lock = DriverLock(run.path / "driver.lock")
    assert lock.acquire()
    with pytest.raises(InputError, match="another driver"):
        run_inline(run, factory=never)
    lock.release()
    assert run_inline(run).tasks_pending == 0


def test_signals_stop_between_heartbeats_and_resume_goes_on(tiny_run):
    run = tiny_run(samples=128, min_shards=10)  # units long enough that some are left at each signal
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        command = [sys.executable, "-m", "inpaint_hpc", "resume", str(run.path), "--cluster", "inline"]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        before = len(run.result_units())
        while len(run.result_units()) <= before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=600)
        assert process.returncode == status, said
        assert f"stopped by {signal.Signals(number).name}" in said and "inpaint-hpc resume" in said
        assert not list(run.path.glob("results/*/.*"))
    assert 0 < len(run.pending_units()) < run.n_shards
    assert run_inline(RunDirectory(run.path), verify=True).tasks_pending == 0
