"""Workers: the same records whatever the units, failures alone, nothing lost on a full disk."""

import json
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.campaign.heartbeat import Heartbeat
from inpaint_hpc.campaign.journal import read_journal
from inpaint_hpc.campaign.worker import ShardWorker, fail_unit
from inpaint_hpc.errors import InputError, StorageError
from inpaint_hpc.pipeline.inpaint import run_tasks


@pytest.fixture
def worker_of():
    """Workers that are closed at the end."""
    workers = []

    def make(run, kind=ShardWorker, **keywords):
        workers.append(kind(run.path, **{"threads": 1, "name": f"w{len(workers)}", **keywords}))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def records(run):
    return [record for path in run.result_paths() for record in Archive(path).iter_records()]


def until(condition, seconds=600.0):
    """Wait for what another thread will bring about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def poison(run, row, count=400):
    """Change a task to more guests than its cell can hold, which only the worker will find out."""
    with h5py.File(run.path / "tasks.h5", "r+") as file:
        numbers, offsets = file["guest_list_numbers"][:], file["guest_list_offsets"][:]
        del file["guest_list_numbers"], file["guest_list_offsets"]
        file["guest_list_numbers"] = np.append(numbers, np.full(count, 3, dtype=np.uint8))
        file["guest_list_offsets"] = np.append(offsets, offsets[-1] + count)
        file["guest_list"][row] = len(offsets) - 1


def test_a_unit_becomes_a_result_file_with_everything_drawn(make_run, worker_of):
    run = make_run(guests=[{"Li": "1..2"}], resources={"min_shards": 2})
    worker = worker_of(run)
    reports = [worker.run_unit(unit) for unit in run.pending_units()]
    assert run.pending_units() == [] and run.damaged_units() == {}
    assert all(verify(path) == [] for path in run.result_paths())
    tasks = {task.id: task for task in run.tasks(range(run.n_tasks))}
    found = records(run)
    assert [record.task_id for record in found] == list(tasks)
    sampling, pipeline = run.settings()
    for record in found[:4]:
        task = tasks[record.task_id]
        assert np.array_equal(record.host.frac_coords.view("u8"), task.host.frac_coords.view("u8"))
        assert record.guests == task.guests and record.n_requested == 3 and not record.failed
        result = run_tasks(worker.network, [task.task], sampling, pipeline)[0]
        assert len(record.samples) == result.n_drawn and (~record.samples["valid"]).sum() == result.n_invalid
        assert len(record.candidates) == len(result.candidates)
        for candidate in result.candidates:
            members = record.samples["index"][record.samples["candidate"] == candidate.rank]
            assert tuple(members) == candidate.members
            assert record.candidates["guest_frac_coords"][candidate.rank] == pytest.approx(
                candidate.guest_frac_coords, abs=1e-5
            )
        assert np.isnan(record.candidates["energy_per_atom"]).all()
    assert sum(report.tasks for report in reports) == run.n_tasks
    assert sum(report.samples for report in reports) == sum(int(r.samples["valid"].sum()) for r in found)
    assert sum(report.invalid for report in reports) == sum(int((~r.samples["valid"]).sum()) for r in found) > 0
    assert {"sample", "deduplicate", "write"} <= set(reports[0].stages)
    assert list(run.reports().values()) == reports


def test_scores_and_references_are_recorded(make_run, worker_of, tmp_path):
    from pathlib import Path

    smoke = Path(__file__).parents[1] / "data" / "smoke.h5"
    run = make_run(
        hosts={"path": str(smoke), "split": "eval", "elements": {"include": "Li"}, "limit": 2},
        guests={"remove": "Li"},
        pipeline={"score": True},
        samples=1,
        resources={"min_shards": 1},
    )
    worker_of(run).run_unit(run.unit(0))
    for record, task in zip(records(run), run.tasks(range(run.n_tasks)), strict=True):
        assert np.array_equal(record.reference_frac_coords, task.reference)
        if len(record.candidates):
            assert np.isfinite(record.candidates["energy_per_atom"]).any()
    assert any(len(record.candidates) for record in records(run))


def test_units_batches_and_order_do_not_change_results(make_run, worker_of, tmp_path):
    """Positions within 1e-3 A, the same samples, valid or not, the same ids."""
    guests = [{"Li": "1..2"}, {"Mg": 1}]
    one = make_run(guests=guests, output=str(tmp_path / "one"), resources={"min_shards": 1})
    other = make_run(
        guests=guests,
        output=str(tmp_path / "other"),
        resources={"min_shards": 6, "edge_budget": 1000},
    )
    assert one.id == other.id and (one.n_shards, other.n_shards) == (1, 6)
    worker_of(one).run_unit(one.unit(0))
    worker = worker_of(other)
    for unit in reversed(other.pending_units()):
        for part in reversed(unit.halves() if len(unit) > 1 else (unit,)):
            worker.run_unit(part)
    archives = []
    for run in (one, other):
        collect(run.result_paths(), run.archive_path, expected_task_ids=run.task_ids(), strict=True)
        archives.append(run.archive_path)
    found = compare(*archives)
    assert found.same_tasks and found.tasks == 21 and found.samples >= 63, found
    assert found.unpaired == 0 and found.fraction_within_tolerance == 1.0, found


def test_a_result_that_is_there_is_not_made_again_and_a_damaged_one_is(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    worker = worker_of(run)
    first = worker.run_unit(run.unit(0))
    path = run.result_path(run.unit(0))
    before = path.stat().st_mtime_ns
    again = worker.run_unit(run.unit(0))
    assert again.already_done and again.seconds == 0.0 and path.stat().st_mtime_ns == before
    assert (again.tasks, again.samples, again.invalid, again.failed) == (7, first.samples, first.invalid, 0)
    path.write_bytes(path.read_bytes()[:-700])
    assert not worker.run_unit(run.unit(0)).already_done
    assert verify(path) == []
    events = [record["event"] for record in read_journal(run.path / "logs" / "w0.jsonl")]
    assert events.count("damaged") == 1 and events.count("unit done") == 2 and events.count("task done") == 14


def test_a_task_that_raises_fails_alone(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    poison(run, 3)
    together = []

    class Counted(ShardWorker):
        def _chunks(self, tasks):
            yield list(tasks)

        def records(self, tasks):
            together.append(len(tasks))
            return super().records(tasks)

    report = worker_of(run, Counted).run_unit(run.unit(0))
    assert (report.tasks, report.failed) == (7, 1) and "is more than the cell" in report.error
    # Halved around row 3, not one by one.
    assert together == [7, 3, 4, 2, 1, 1, 2]
    assert verify(run.result_path(run.unit(0))) == []
    found = records(run)
    assert [record.failed for record in found] == [row == 3 for row in range(7)]
    assert found[3].attempts == 2 and "Traceback" in found[3].traceback and "\n" not in found[3].error
    assert sum(len(record.candidates) > 0 for record in found) >= 5
    failed = [r for r in read_journal(run.path / "logs" / "w0.jsonl") if r["event"] == "task failed"]
    assert [record["task"] for record in failed] == [found[3].task_id]


class Narrow(ShardWorker):
    """Runs out of memory with more than `fits` tasks at once, or with a task of `too_large` atoms."""

    fits, too_large = 2, None

    def records(self, tasks):
        if len(tasks) > self.fits or any(len(task.host) == self.too_large for task in tasks):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().records(tasks)


def test_out_of_memory_halves_the_work(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    worker = worker_of(run, Narrow)
    report = worker.run_unit(run.unit(0))
    assert (report.tasks, report.failed) == (7, 0)
    budgets = [r["edge_budget"] for r in read_journal(run.path / "logs" / "w0.jsonl") if r["event"] == "out of memory"]
    assert budgets and all(later <= sooner for sooner, later in pairwise(budgets))
    assert budgets[0] <= 10_000


def test_a_task_that_never_fits_fails_alone(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    worker = worker_of(run, Narrow)
    worker.too_large = 18
    assert worker.run_unit(run.unit(0)).failed == 1
    (failed,) = [record for record in records(run) if record.failed]
    assert len(failed.host) == 18 and "out of memory" in failed.error


def test_records_that_a_result_may_not_hold_become_failures(make_run, worker_of):
    class Wrong(ShardWorker):
        def records(self, tasks):
            found = super().records(tasks)
            for record in found:
                if len(record.host) == 18:
                    record.samples["guest_frac_coords"][:] = 1.5
            return found

    run = make_run(resources={"min_shards": 1})
    report = worker_of(run, Wrong).run_unit(run.unit(0))
    assert report.failed == 1 and "outside [0, 1)" in report.error
    assert verify(run.result_path(run.unit(0))) == []


def test_the_driver_can_record_what_killed_its_workers(make_run):
    run = make_run(resources={"min_shards": 1})
    report = fail_unit(run, run.unit(0, 2, 3), "its worker died:\nsignal 9", 3)
    assert (report.tasks, report.failed, report.worker) == (1, 1, "driver")
    (record,) = records(run)
    assert record.error == "its worker died: signal 9" and record.attempts == 3
    assert record.task_id == run.tasks([2])[0].id


def test_other_weights_in_the_run_directory_are_refused(make_run, weights):
    from safetensors.torch import load_file

    from inpaint_hpc.network.weights import find_weights, save_weights

    run = make_run()
    tensors = {name: tensor * 1.01 for name, tensor in load_file(weights).items()}
    card = {"name": "other", "network": find_weights(weights).card["network"]}
    save_weights(tensors, run.weights_path, card)
    with pytest.raises(InputError, match=r"these are other weights \(\w{12}\) than the campaign was created with"):
        ShardWorker(run.path)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"device": "quantum"}, "no such device 'quantum'"),
        ({"device": "cuda:99"}, "torch sees"),
        ({"name": "a/b"}, "cannot name a worker"),
    ],
)
def test_workers_that_cannot_be(make_run, keywords, message):
    with pytest.raises(InputError, match=message):
        ShardWorker(make_run().path, **keywords)


def test_a_place_that_cannot_be_written_is_told_before_the_work(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    worker = worker_of(run)
    (run.path / "results").write_text("in the way")
    with pytest.raises(StorageError) as error:
        worker.run_unit(run.unit(0))
    assert "cannot be written" in str(error.value) and "inpaint-hpc resume" in str(error.value)
    assert "\n" not in str(error.value)
    (run.path / "results").unlink()
    assert worker.run_unit(run.unit(0)).tasks == 7


FULL_DISK = """
import os, shutil, subprocess, sys
from pathlib import Path
source, disk = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
shutil.copytree(source, disk / "run")
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.errors import StorageError
worker = ShardWorker(disk / "run", threads=1, name="w")
first, second = worker.run.pending_units()
worker.run_unit(first)
filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
try:
    while os.write(filler, bytes(4096)):
        pass
except OSError:
    os.close(filler)
try:
    worker.run_unit(second)
except StorageError as error:
    print("StorageError:", error)
files = sorted(p.name for p in worker.run.result_path(first).parent.iterdir())
print(files == [worker.run.result_path(first).name], worker.run.damaged_units())
os.remove(disk / "filler")
print(worker.run_unit(second).tasks, worker.run.pending_units(verify=True))
os._exit(0)
"""


def test_a_full_disk_is_one_line_and_nothing_finished_is_lost(make_run, tmp_path):
    run = make_run(resources={"min_shards": 2})
    assert run.n_shards == 2
    (tmp_path / "disk").mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = [*own, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "disk")]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    command = [*own, sys.executable, "-c", FULL_DISK, str(run.path), str(tmp_path / "disk")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    failed, intact, finished = result.stdout.splitlines()
    assert "No space left on device); free space on the disk, then continue with `inpaint-hpc resume`" in failed
    assert intact == "True {}"
    assert finished.endswith(" []")


def test_heartbeats_come_while_the_worker_is_busy_and_say_that_it_ended(make_run):
    run = make_run()
    beat = Heartbeat(run, "w", every=0.05, device="cpu")
    beat.start()
    beat.update(state="running", unit="3")
    times = [run.heartbeats()["w"]["time"]]

    def beaten():
        times.append(run.heartbeats()["w"]["time"])
        return len(set(times)) == 4

    until(beaten)
    assert times == sorted(times)
    until(lambda: (r := run.heartbeats()["w"])["unit"] == "3" and r["time"] - r["progressed"] > 0.2)
    record = run.heartbeats()["w"]
    assert (record["state"], record["unit"], record["device"]) == ("running", "3", "cpu")
    assert record["time"] - record["progressed"] > 0.2  # it beats, but the worker has not come forward
    beat.close()
    assert run.heartbeats()["w"]["state"] == "ended"
    assert not any(thread.name == "heartbeat of w" for thread in threading.enumerate())
    last = run.heartbeats()["w"]["time"]
    time.sleep(0.15)
    assert run.heartbeats()["w"]["time"] == last


def test_heartbeats_on_a_full_disk_do_not_end_the_worker(make_run):
    run = make_run()
    (run.path / "workers").write_text("in the way")
    beat = Heartbeat(run, "w", every=0.05)
    beat.start()
    time.sleep(0.2)
    (run.path / "workers").unlink()
    until(lambda: "w" in run.heartbeats())
    assert run.heartbeats()["w"]["state"] == "idle"
    beat.close()


def test_what_a_worker_says_of_itself(make_run, worker_of):
    run = make_run(resources={"min_shards": 1})
    worker = worker_of(run, name="node-3")
    report = worker.run_unit(run.unit(0))
    record = json.loads((run.path / "workers" / "node-3.json").read_text())
    assert record["tasks_done"] == 7 and record["samples"] == report.samples and record["state"] == "idle"
    assert record["samples_per_second"] > 0 and record["threads"] == 1 and record["device"] == "cpu"
