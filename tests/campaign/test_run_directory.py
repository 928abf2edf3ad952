"""The run directory: units, pending work, damaged and foreign results, heartbeats, errors."""

import json
import os
import shutil
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inpaint_hpc.campaign.journal import Journal, read_journal
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.unit_results import fail_unit
from inpaint_hpc.campaign.work_units import UnitReport, WorkUnit
from inpaint_hpc.errors import InputError


@pytest.fixture
def run(make_run):
    """Three shards of 12, 13 and 10 tasks or so."""
    return make_run(guests=[{"Li": "1..2"}, {"Mg": "1..2"}, {"Na": 1}], resources={"min_shards": 1, "shard_tasks": 13})


def finish(run, unit):
    fail_unit(run, unit, "for a test", 1)


def test_units_print_sort_and_split():
    whole, part = WorkUnit(17, 0, 24, whole=True), WorkUnit(17, 8, 16)
    assert (str(whole), str(part), len(part)) == ("17", "17.8-16", 8)
    assert sorted([part, WorkUnit(3, 5, 6), whole]) == [WorkUnit(3, 5, 6), whole, part]
    assert WorkUnit(17, 0, 24) == whole and hash(WorkUnit(17, 0, 24)) == hash(whole)
    first, second = WorkUnit(2, 3, 8).halves()
    assert (first, second) == (WorkUnit(2, 3, 5), WorkUnit(2, 5, 8))
    with pytest.raises(ValueError, match="no halves"):
        WorkUnit(0, 4, 5).halves()
    for wrong in ((0, 5, 5), (0, -1, 3), (-1, 0, 3)):
        with pytest.raises(ValueError, match="no such unit"):
            WorkUnit(*wrong)


def test_reports_survive_json():
    report = UnitReport(WorkUnit(1, 0, 3, whole=True), 3, 40, 8, 1, 12.5, {"sample": 10.0}, "w", 5.0, "why")
    back = UnitReport.from_dict(json.loads(json.dumps(report.as_dict())))
    assert back == report and str(back.unit) == "1"


def test_shards_cover_all_tasks(run):
    assert run.n_shards == 3
    rows = [row for shard in range(3) for row in run.rows(run.unit(shard))]
    assert rows == list(range(run.n_tasks)) == list(range(35))
    assert str(run.unit(1)) == "1" and str(run.unit(1, 2, 4)) == "1.2-4"
    ids = [text.decode() for text in run.task_ids()]
    assert ids == [task.id for task in run.tasks(range(35))]
    assert [text.decode() for text in run.task_ids([3, 1])] == [ids[3], ids[1]]
    assert run.tasks([]) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.shard(3), "no shard 3; it has shards 0 to 2"),
        (lambda run: run.unit(0, 5, 99), "shard 0 has"),
        (lambda run: run.rows(WorkUnit(9, 0, 1)), "no shard 9"),
    ],
)
def test_units_that_do_not_exist(run, call, message):
    with pytest.raises(InputError, match=message):
        call(run)


def test_pending_is_what_no_result_covers(run):
    sizes = [run.shard(shard)[1] for shard in range(3)]
    assert run.pending_units() == [run.unit(shard) for shard in range(3)]
    assert all(unit.whole for unit in run.pending_units())
    finish(run, run.unit(1))
    finish(run, run.unit(0, 2, 5))
    finish(run, run.unit(0, 4, 6))
    finish(run, run.unit(2, 0, 3))
    assert run.pending_units() == [WorkUnit(0, 0, 2), WorkUnit(0, 6, sizes[0]), WorkUnit(2, 3, sizes[2])]
    assert not any(unit.whole for unit in run.pending_units())
    assert run.result_path(run.unit(1)).name == "shard-000001.h5"
    assert run.result_path(run.unit(0, 2, 5)).relative_to(run.path).as_posix() == "results/000/shard-000000.2-5.h5"
    assert [str(unit) for unit in run.result_units()] == ["0.2-5", "0.4-6", "1", "2.0-3"]
    assert run.result_paths() == [run.result_path(unit) for unit in run.result_units()]
    for unit in run.pending_units():
        finish(run, unit)
    assert run.pending_units() == [] == run.pending_units(verify=True)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_finished_units_leave_exactly_the_gaps(run, data):
    """Whole shards, halves, units that overlap: finished and pending together are everything, pending nothing twice."""
    shutil.rmtree(run.path / "results", ignore_errors=True)
    done = set()
    for _ in range(data.draw(st.integers(0, 8))):
        unit = run.unit(data.draw(st.integers(0, run.n_shards - 1)))
        for half in data.draw(st.lists(st.integers(0, 1), max_size=4)):
            unit = unit.halves()[half] if len(unit) > 1 else unit
        if data.draw(st.booleans()):
            start = data.draw(st.integers(0, run.shard(unit.shard)[1] - 1))
            unit = run.unit(unit.shard, start, data.draw(st.integers(start + 1, run.shard(unit.shard)[1])))
        path = run.result_path(unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        done |= set(run.rows(unit).tolist())
    pending = run.pending_units()
    rows = [row for unit in pending for row in run.rows(unit).tolist()]
    assert rows == sorted(set(range(run.n_tasks)) - done)
    assert pending == [unit for shard in range(run.n_shards) for unit in run.pending_in(shard)]
    assert all(unit.whole == (len(unit) == run.shard(unit.shard)[1]) for unit in pending)
    # In as few units as possible: none begins where the one before it ends.
    assert not any(a.shard == b.shard and a.stop == b.start for a, b in pairwise(pending))


def test_files_that_do_not_belong_are_passed_over(run):
    folder = run.path / "results" / "000"
    folder.mkdir(parents=True)
    for name in ("shard-000099.h5", "shard-000000.0-999.h5", ".shard-000000.h5.1.tmp", "notes.txt", "shard-0.h5"):
        (folder / name).write_bytes(b"x")
    (folder / "shard-000001.h5").touch()  # empty
    assert run.result_units() == [] and len(run.pending_units()) == 3


def test_damaged_results_are_found_set_aside_and_pending_again(run):
    for shard in range(3):
        finish(run, run.unit(shard))
    assert run.damaged_units() == {}
    path = run.result_path(run.unit(1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert run.pending_units() == []  # names and sizes do not tell
    problems = run.damaged_units()
    assert list(problems) == [run.unit(1)] and str(path) in problems[run.unit(1)] and "\n" not in problems[run.unit(1)]
    assert run.pending_units(verify=True) == [run.unit(1)]
    moved = run.set_aside(run.unit(1))
    assert moved.parent == run.path / "damaged" and moved.read_bytes() == content[: len(content) // 2]
    assert run.pending_units() == [run.unit(1)]


def test_leftovers_of_killed_writers_are_removed_once_they_are_old(run):
    finish(run, run.unit(0))
    run.heartbeat("w", {})
    old, new = run.result_path(run.unit(0)).with_name(".shard-000000.h5.77.ab.tmp"), run.path / "workers" / ".w.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1.0e9, 1.0e9))
    assert run.remove_leftovers() == 1
    assert not old.exists() and new.exists() and run.result_units() == [run.unit(0)] and "w" in run.heartbeats()


def test_results_of_other_weights_or_campaigns_are_named(run, make_run, tmp_path):
    other = make_run(output=str(tmp_path / "other"), samples=7, resources={"min_shards": 1})
    finish(other, other.unit(0))
    path = run.result_path(run.unit(0))
    path.parent.mkdir(parents=True)
    shutil.copy(other.result_path(other.unit(0)), path)
    assert "belongs to another campaign" in run.problem_of(run.unit(0))
    info = json.loads((run.path / "campaign.json").read_text())
    info["weights"]["sha256"] = "0" * 64
    (run.path / "campaign.json").write_text(json.dumps(info))
    problem = RunDirectory(run.path).problem_of(run.unit(0))
    assert "made with other weights" in problem and "(000000000000)" in problem


def test_heartbeats_and_drivers(run):
    run.heartbeat("node-1", {"state": "running", "unit": "3"})
    run.heartbeat("driver", {"status": "running"})
    run.heartbeat("driver-2", {"status": "running"})
    (run.path / "workers" / "half.json").write_text('{"state": ')
    beats = run.heartbeats()
    assert sorted(beats) == ["driver", "driver-2", "node-1"]
    assert beats["node-1"]["name"] == "node-1" and beats["node-1"]["unit"] == "3" and beats["node-1"]["time"] > 1e9
    assert (run.path / "driver.json").exists()


def test_journals_survive_lines_cut_off_by_a_kill(tmp_path):
    path = tmp_path / "logs" / "w.jsonl"
    journal = Journal(path)
    journal.append(event="one", where=path)
    journal.append(event="two")
    journal.close()
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) - 9)
    journal.append(event="three")
    assert [record["event"] for record in read_journal(path)] == ["one", "three"]
    assert all(record["time"] > 1e9 for record in read_journal(path))
    assert list(read_journal(tmp_path / "nothing.jsonl")) == []


def test_reports_are_read_whoever_wrote_them(run):
    finish(run, run.unit(0))
    fail_unit(run, run.unit(1), "killed its worker", 3, worker="driver-7")
    with open(run.path / "reports" / "driver.jsonl", "a") as file:
        file.write('{"unit": 5}\n[1]\n{"unit"')
    reports = run.reports()
    assert set(reports) == {run.unit(0), run.unit(1)}
    assert reports[run.unit(1)].error == "killed its worker" and reports[run.unit(1)].worker == "driver-7"
    assert reports[run.unit(0)].failed == reports[run.unit(0)].tasks == run.shard(0)[1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: shutil.rmtree(path), "no such run directory; make one with"),
        (lambda path: (path / "campaign.json").unlink(), "not a run directory, campaign.json is missing"),
        (lambda path: (path / "campaign.json").write_text('{"schema"'), "campaign.json: damaged; create the run again"),
        (lambda path: (path / "campaign.json").write_text("[]"), "campaign.json: damaged"),
        (lambda path: (path / "campaign.json").write_text('{"schema": "2.0"}'), "made by a newer inpaint_hpc"),
        (lambda path: (path / "tasks.h5").unlink(), "tasks.h5: is missing"),
        (lambda path: (path / "hosts.h5").write_bytes(b"nonsense"), "hosts.h5: not readable"),
        (lambda path: (path / "shards.h5").write_bytes(b""), "shards.h5: not readable"),
    ],
)
def test_damaged_run_directories_get_one_line(run, damage, message):
    damage(run.path)
    with pytest.raises(InputError) as error:
        again = RunDirectory(run.path)
        again.tasks([0])
        again.shard(0)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_settings_of_another_version_are_refused(run):
    info = json.loads((run.path / "campaign.json").read_text())
    info["sampling"]["guidance"] = 2
    (run.path / "campaign.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"another version of inpaint_hpc \(unknown sampling setting 'guidance'\)"):
        RunDirectory(run.path).settings()
