"""Campaigns whose analysis is done in processes beside the worker, also of several units at once: the same archives,
bit for bit, whatever happens."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from ended_processes import gone

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.resources import Resources, analysis_processes, units_at_once, worker_threads
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.status import read_status
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.sampling import joint
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator

SCORED = {
    "hosts": {"examples": "mno2", "limit": 3},
    "guests": [{"Li": "1..2"}],
    "pipeline": {"score": True, "max_energy_evaluations": 6, "n_sequential": 2},
    "resources": {"min_shards": 1},
}


def worked(run, analysis, kind=ShardWorker):
    """The units of a run, done; the processes that did the analysis."""
    worker = kind(run.path, threads=1, name=f"w{analysis}", analysis=analysis)
    try:
        for unit in run.pending_units():
            worker.run_unit(unit)
        return worker._pool.pids if analysis else []
    finally:
        worker.close()


def records(run):
    return [record for path in run.result_paths() for record in Archive(path).iter_records()]


@pytest.fixture(scope="module")
def scored_inline(tmp_path_factory, weights):
    """A campaign with energies, analysed by its worker itself."""
    from inpaint_hpc.campaign.config import CampaignConfig
    from inpaint_hpc.configuration import validate
    from inpaint_hpc.planning.create_run import create_run

    out = tmp_path_factory.mktemp("inline") / "run"
    settings = {"output": str(out), "samples": 3, "weights": str(weights), "sampling": {"steps": 4}, **SCORED}
    run = create_run(validate(CampaignConfig, settings, "campaign.yaml"))
    worked(run, 0)
    collect_run(run)
    return run


@pytest.mark.parametrize("processes", [1, 2])
def test_the_archive_is_the_same_bit_for_bit(scored_inline, make_run, processes):
    run = make_run(**SCORED | {"resources": {"min_shards": 1, "analysis": processes}})
    assert run.id == scored_inline.id and run.task_ids().tolist() == scored_inline.task_ids().tolist()
    pids = worked(run, processes)
    assert len(pids) == processes and gone(pids)
    collect_run(run)
    found = compare(scored_inline.archive_path, run.archive_path)
    assert found.tasks == 6 and found.equal and found.samples == found.identical >= 18, found
    assert {len(record.guests) for record in records(run)} == {1, 2}
    assert any(len(record.sites) for record in records(run)) and not any(record.failed for record in records(run))


@pytest.mark.parametrize("processes", [0, 2])
def test_units_at_once_change_nothing(make_run, tmp_path, processes):
    runs = [make_run(**SCORED | {"output": str(tmp_path / name), "resources": {"min_shards": 4}}) for name in "ab"]
    worked(runs[0], 0)
    worker = ShardWorker(runs[1].path, threads=1, name="w", analysis=processes)
    try:
        with ThreadPoolExecutor(3) as threads:
            reports = list(threads.map(worker.run_unit, runs[1].pending_units()))
    finally:
        worker.close()
    for run in runs:
        collect_run(run)
    found = compare(*(run.archive_path for run in runs))
    assert found.tasks == 6 and found.equal and found.samples == found.identical >= 18, found
    beat = runs[1].heartbeats()["w"]
    assert (beat["tasks_done"], beat["units_done"], beat["units"], beat["unit"]) == (6, len(reports), [], None)
    assert beat["samples"] == sum(report.samples for report in reports) > 0 and len(reports) == 3
    assert beat["samples_per_second"] > 0.9 * beat["samples"] / sum(report.seconds for report in reports)


class Late:
    """What reads it from a pipe waits until a file is there."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return _late, (self.path, os.getpid())


def _late(path, owner):
    deadline = time.monotonic() + 600.0
    while os.getpid() != owner and not os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return Late(path)


class Waiting(ShardWorker):
    """The analysis of the first task waits for a file."""

    def records(self, tasks):
        late = {"late": Late(str(self.run.path / "go"))}
        return super().records(
            [replace(task, host=replace(task.host, info={} if task.row else late)) for task in tasks]
        )


def test_the_networks_are_free_while_a_unit_waits_for_its_analysis(make_run):
    run = make_run(resources={"min_shards": 3})
    units = run.pending_units()
    worker = Waiting(run.path, threads=1, name="w", analysis=2)
    try:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(worker.run_unit, units[0])
            try:
                for unit in units[1:]:
                    assert worker.run_unit(unit).failed == 0
                assert not first.done()
                (status,) = read_status(run).workers
                assert (status.state, status.unit, status.units) == ("running", str(units[0]), (str(units[0]),))
            finally:
                (run.path / "go").touch()
            assert first.result().failed == 0
    finally:
        worker.close()
    assert not run.pending_units()
    (status,) = read_status(run).workers
    assert (status.state, status.unit, status.units, status.tasks) == ("ended", None, (), 7)


def test_two_units_use_the_networks_at_a_time_and_no_third(make_run, monkeypatch):
    run = make_run(**SCORED | {"resources": {"min_shards": 4}})
    units, inside, most, both = run.pending_units(), [0], [0], threading.Event()
    lock = threading.Lock()

    def counted(function):
        def called(*arguments, **options):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            if inside[0] == 2:
                both.set()
            assert both.wait(120.0)  # the first one waits for a second
            try:
                return function(*arguments, **options)
            finally:
                with lock:
                    inside[0] -= 1

        return called

    for owner, name in ((joint, "_denoise"), (BatchEvaluator, "__call__")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    worker = ShardWorker(run.path, threads=1, name="w", analysis=1)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert [report.failed for report in threads.map(worker.run_unit, units)] == [0] * len(units)
    finally:
        worker.close()
    assert most == [2] and len(units) > 2


class Bomb:
    """Harmless where it was made; what reads it from a pipe raises, or ends."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return _burst, (self.kind, os.getpid())


def _burst(kind, owner):
    if os.getpid() != owner:
        if kind == "ends":
            os.kill(os.getpid(), signal.SIGSEGV)
        raise ValueError("cannot be analysed")
    return Bomb(kind)


class Spoilt(ShardWorker):
    """Its analysis of the task in row 1 raises or ends its process."""

    kind = ""

    def records(self, tasks):
        spoilt = {1: {"bomb": Bomb(self.kind)}}
        return super().records(
            [replace(task, host=replace(task.host, info=spoilt.get(task.row, task.host.info))) for task in tasks]
        )


class Raising(Spoilt):
    kind = "raises"


class Ending(Spoilt):
    kind = "ends"


@pytest.mark.parametrize(
    ("kind", "error", "trace"),
    [
        (Raising, r"ValueError: cannot be analysed", "in _burst"),
        (Ending, r"AnalysisError: .*its analysis ends the process that it runs in \(SIGSEGV\)", "AnalysisError"),
    ],
)
def test_a_task_that_cannot_be_analysed_fails_alone(make_run, tmp_path, kind, error, trace):
    changes = {"hosts": {"examples": "mno2", "limit": 2}, "resources": {"min_shards": 1}}
    run, sound = make_run(**changes), make_run(output=str(tmp_path / "sound"), **changes)
    assert gone(worked(run, 2, kind))
    worked(sound, 0)
    found, expected = records(run), records(sound)
    assert [record.failed for record in found] == [row == 1 for row in range(2)]
    assert re.fullmatch(error, found[1].error) and trace in found[1].traceback and found[1].attempts == 2
    ours, theirs = (one[0].candidates["guest_frac_coords"] for one in (found, expected))
    assert len(ours) and np.array_equal(ours, theirs)


WORKER = """
import sys
from inpaint_hpc.campaign.status import read_status
from inpaint_hpc.campaign.worker import ShardWorker
worker = ShardWorker(sys.argv[1], threads=1, name="killed", analysis=2)
worker.run_unit(worker.run.unit(0))
sys.stdin.read()
"""


def of_analysis(process):
    try:
        return "analysis_process" in str(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def test_nothing_is_left_of_a_worker_that_is_killed(make_run):
    run = make_run(resources={"min_shards": 1})
    with subprocess.Popen([sys.executable, "-c", WORKER, str(run.path)], stdin=subprocess.PIPE) as worker:
        family = psutil.Process(worker.pid)
        while not (beside := [p.pid for p in family.children(recursive=True) if of_analysis(p)]):
            assert worker.poll() is None
            time.sleep(0.02)
        worker.kill()
        worker.wait()
        assert gone(beside)
    worked(run, 0)
    assert not run.pending_units() and not run.damaged_units()


def test_little_is_sent_and_no_network(weights):
    from inpaint_hpc.crystals.reading import read_hosts
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.inpaint import run_tasks
    from inpaint_hpc.pipeline.settings import PipelineSettings

    sizes = []

    def through_pickle(function, items):
        for item in items:
            sent = pickle.dumps((function, item))
            returned = pickle.dumps(function(pickle.loads(sent)[1]))
            sizes.append((len(sent), len(returned)))
            assert not any(large in sent + returned for large in (b"torch", b"permutations"))  # of all sites
            yield pickle.loads(returned)

    host = read_hosts([Path(__file__).parents[2] / "inpaint_hpc" / "examples" / "mno2"])[0]
    tasks = [Task(host, {"Li": 1}), Task(host, {"Li": 2})]
    pipeline = PipelineSettings(evaluations=6, sequential=2)
    settings = load_network(weights), tasks, SamplingSettings(samples=4, steps=4), pipeline
    found = run_tasks(*settings, analysis=through_pickle)
    assert len(sizes) > 4 and max(map(max, sizes)) < 50_000, sizes
    for one, other in zip(found, run_tasks(*settings), strict=True):
        assert (one.notes, one.evaluations) == (other.notes, other.evaluations) and len(one.candidates)
        for candidate, expected in zip(one.candidates, other.candidates, strict=True):
            np.testing.assert_equal(asdict(candidate), asdict(expected))


def test_processes_that_are_chosen():
    assert [analysis_processes("auto", "cpu", cores, 1) for cores in (1, 64)] == [0, 0]
    assert [analysis_processes("auto", "cuda", cores, 4) for cores in (2, 4, 32, 128)] == [0, 0, 9, 12]
    assert analysis_processes(3, "cpu", 1, 1) == 3 and Resources(analysis=0).analysis == 0
    for wrong in (-1, True, "many"):
        with pytest.raises(ValueError, match="0 for none, or auto"):
            Resources(analysis=wrong)


def test_units_and_threads_that_are_chosen():
    assert [units_at_once("auto", *choice) for choice in (("cpu", 0), ("cpu", 4), ("cuda", 0), ("cuda", 4))] == [
        1,
        1,
        1,
        3,
    ]
    assert units_at_once(2, "cpu", 0) == 2 and Resources(units_at_once=4).units_at_once == 4
    for wrong in (0, True, "many"):
        with pytest.raises(ValueError, match="at least 1, or auto"):
            Resources(units_at_once=wrong)
    assert [worker_threads("cuda", cores, 1, analysis) for cores, analysis in ((16, 0), (16, 12), (8, 7), (1, 4))] == [
        16,
        2,
        1,
        1,
    ]
    assert worker_threads("cpu", 16, 2, 3) == 8
