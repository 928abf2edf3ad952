"""Run directories and JSON documents of earlier code (tests/data/recorded/): read, continued, and computed as then."""

import json
import math
import shutil
from pathlib import Path

import pytest
import recorded_behaviour
from recorded_behaviour import RECORDED, VERBS

from inpaint_hpc.archive.verify import verify
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cluster.local import run_campaign

TASKS = json.loads((RECORDED / "tasks.json").read_text())
# Networks in single precision differ in their last digits between CPUs and versions of torch: with other instruction
# sets of one CPU, energies and forces differed by 2e-6.
TOLERANCE = 1e-5


@pytest.fixture
def recorded_run(tmp_path):
    """A copy of a recorded run directory."""
    return lambda name: RunDirectory(shutil.copytree(RECORDED / name, tmp_path / name))


def differences(found, expected, tolerance=TOLERANCE, where=""):
    """Where two documents differ: keys, texts and types exactly, numbers within a tolerance, times and the version
    of the package not at all, and of paths only the names of files."""
    if where.rpartition(".")[2] in ("seconds", "version"):
        return [] if type(found) is type(expected) else [where]
    if isinstance(expected, dict) and isinstance(found, dict):
        if list(found) != list(expected):
            return [f"{where}: keys {list(found)}, not {list(expected)}"]
        return [d for key in expected for d in differences(found[key], expected[key], tolerance, f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, (one, other) in pairs for d in differences(one, other, tolerance, f"{where}[{i}]")]
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
        return [] if same or (math.isnan(found) and math.isnan(expected)) else [f"{where}: {found}, not {expected}"]
    if isinstance(expected, str) and isinstance(found, str) and "/" in expected and where.endswith("file"):
        found, expected = Path(found).name, Path(expected).name
    return [] if type(found) is type(expected) and found == expected else [f"{where}: {found}, not {expected}"]


def test_a_finished_run_is_read_verified_and_collected(recorded_run):
    run = recorded_run("finished")
    assert run.pending_units(verify=True) == [] and run.settings()[0].steps == 4 and run.config.samples == 3
    assert {task.id for task in run.tasks(range(run.n_tasks))} == set(TASKS)
    assert [verify(path) for path in run.result_paths()] == [[]] * run.n_shards
    assert {report.worker for report in run.reports().values()} == {"worker"}
    report = collect_run(run)
    assert (report.tasks, report.failed) == (4, 0)
    assert verify(run.archive_path) == []
    assert differences(recorded_behaviour.summary(run.archive_path), TASKS, tolerance=0.0) == []


def test_a_half_finished_run_is_continued(recorded_run):
    run = recorded_run("half-finished")
    before = {path: path.read_bytes() for path in run.result_paths()}
    assert len(before) == 1 and [str(unit) for unit in run.pending_units()] == ["0.1-2", "1"]
    done = run_campaign(run, cluster="inline", device="cpu", verify=True)
    assert (done.state.units_done, done.tasks_pending) == (2, 0)
    assert {path: path.read_bytes() for path in before} == before
    collect_run(run)
    found = recorded_behaviour.summary(run.archive_path)
    assert differences(found, TASKS) == []
    (kept,) = (recorded_behaviour.summary(path) for path in before)
    assert {task: found[task] for task in kept} == kept


def test_tasks_of_a_new_run_have_the_recorded_ids(recorded_run, tmp_path):
    run, recorded = recorded_behaviour.create(tmp_path / "new"), recorded_run("finished")
    assert run.id == recorded.id and run.task_ids().tolist() == recorded.task_ids().tolist()
    assert [shard.tolist() for shard in run.shards[:2]] == [shard.tolist() for shard in recorded.shards[:2]]


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_what_it_was(verb, tmp_path):
    expected = json.loads((RECORDED / f"{verb}.json").read_text())
    assert differences(recorded_behaviour.document(verb, tmp_path / "out"), expected) == []
