"""What a campaign will cost, and how it goes."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.status import read_status
from inpaint_hpc.campaign.unit_results import fail_unit
from inpaint_hpc.campaign.work_units import UnitReport
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cli.main import cli
from inpaint_hpc.errors import InputError
from inpaint_hpc.planning.estimate import plan_campaign

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(make_run):
    """Four shards of three or four tasks."""
    return make_run(guests=[{"Li": "1..2"}], resources={"min_shards": 4})


def pretend(run, unit, worker, seconds, ended, samples=10, failed=0, error=""):
    """A result and the report on it, without the work."""
    path = run.result_path(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"result")
    report = UnitReport(unit, len(unit), samples, 2, failed, seconds, {}, worker, ended, error)
    journal = run.report_journal(worker)
    journal.append(**report.as_dict())
    journal.close()


def test_a_new_campaign(run):
    found = read_status(run.path)
    assert (found.tasks, found.tasks_done, found.tasks_pending, found.shards, found.shards_done) == (14, 0, 14, 4, 0)
    assert (found.samples, found.invalid_rate, found.cost_done, found.eta_seconds) == (0, 0.0, 0.0, None)
    assert not found.done and found.workers == () and found.last_error == ""


def test_counts_of_whole_and_partial_units(run):
    now = time.time()
    n = [run.shard(k)[1] for k in range(4)]
    assert n[3] > 2
    pretend(run, run.unit(0), "a", 5.0, now)
    pretend(run, run.unit(3, 0, 2), "a", 5.0, now, failed=1, error="no room")
    pretend(run, run.unit(3, 1, 2), "b", 5.0, now)
    found = read_status(run)
    assert found.tasks_done == n[0] + 2 and found.shards_done == 1
    assert (found.samples, found.invalid, found.tasks_failed) == (20, 4, 1)  # what overlaps counts once
    assert found.invalid_rate == pytest.approx(4 / 24)
    costs = [run.shard(k)[2] for k in range(4)]
    assert found.cost_done == pytest.approx((costs[0] + costs[3] * 2 / n[3]) / sum(costs))
    assert found.last_error == "unit 3.0-2: no room" and found.failures[0]["worker"] == "a"


def test_speed_and_time_to_go_come_from_workers_that_are_alive(run):
    now = time.time()
    costs = [run.shard(k)[2] for k in range(4)]
    pretend(run, run.unit(0), "alive", 10.0, now - 10.0, samples=30)
    pretend(run, run.unit(1), "alive", 10.0, now, samples=30)
    pretend(run, run.unit(2), "dead", 1000.0, now - 5000, samples=30)
    run.heartbeat("alive", {"state": "running", "unit": "3", "host": "elsewhere", "pid": 1, "tasks_done": 7})
    run.heartbeat("dead", {"state": "running", "host": socket.gethostname(), "pid": 2**22 - 1})
    run.heartbeat("over", {"state": "ended", "host": "elsewhere"})
    found = read_status(run, now)
    assert found.samples_per_second == pytest.approx(60 / 20.0)
    assert found.eta_seconds == pytest.approx(costs[3] / (costs[0] + costs[1]) * 20.0)
    assert [(worker.name, worker.alive) for worker in found.workers] == [
        ("alive", True),
        ("dead", False),
        ("over", False),
    ]
    assert found.workers[0].tasks == 7 and found.workers_alive == 1
    assert found.workers[0].units == ("3",)  # as those who write no `units` say it
    later = read_status(run, now + 100.0)
    assert later.workers_alive == 0 and later.workers[0].age == pytest.approx(100.0, abs=2.0)
    assert later.eta_seconds is None and later.samples_per_second == 0.0


def test_results_whose_report_was_lost_are_asked_themselves(run):
    fail_unit(run, run.unit(2), "killed its worker", 3)
    (run.path / "reports" / "driver.jsonl").unlink()
    found = read_status(run)
    assert found.tasks_failed == run.shard(2)[1] == found.tasks_done
    run.result_path(run.unit(2)).write_bytes(b"nonsense")
    assert read_status(run).tasks_failed == 0  # nothing is known of it; `resume` will find it damaged


def test_the_driver_is_shown(run):
    run.heartbeat(
        "driver", {"status": "running", "pid": os.getpid(), "host": socket.gethostname(), "last_error": "x y"}
    )
    found = read_status(run)
    assert found.drivers["driver"]["alive"] and found.last_error == "driver: x y"
    run.heartbeat("driver", {"status": "stopped by SIGTERM", "pid": os.getpid(), "host": socket.gethostname()})
    assert not read_status(run).drivers["driver"]["alive"]


def test_a_finished_campaign(run):
    for unit in run.pending_units():
        pretend(run, unit, "a", 1.0, time.time())
    found = read_status(run)
    assert found.done and found.cost_done == pytest.approx(1.0) and found.eta_seconds == 0.0 and not found.collected
    run.archive_path.write_bytes(b"archive")
    assert read_status(run).collected


def test_status_from_another_shell(run):
    """Real results, the command itself, and nothing heavy imported for it."""
    worker = ShardWorker(run.path, threads=1, name="w")
    report = worker.run_unit(run.unit(0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "inpaint_hpc", "status", str(run.path), "--json"]
    output = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    found = json.loads(output)
    assert found["tasks_done"] == report.tasks and found["samples"] == report.samples
    assert found["workers"][0]["name"] == "w" and found["workers_alive"] == 1 and found["eta_seconds"] > 0
    worker.close()
    shown = CliRunner().invoke(cli, ["status", str(run.path)]).output
    assert f"{report.tasks} of 14 done" in shown and "nothing is running" in shown and "inpaint-hpc resume" in shown
    script = (
        "import sys\nfrom inpaint_hpc.campaign.status import read_status\n"
        f"read_status({str(run.path)!r})\n"
        "print(sorted(set(sys.modules) & {'torch', 'pandas', 'pymatgen', 'ase', 'pydantic', 'ray', 'scipy'}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.stdout == "[]\n", result.stderr


def test_watching_ends_when_the_campaign_does(run):
    for unit in run.pending_units():
        pretend(run, unit, "a", 1.0, time.time())
    result = CliRunner().invoke(cli, ["status", str(run.path), "--watch", "--json"])
    assert result.exit_code == 0 and json.loads(result.output)["done"]


def test_status_of_what_is_no_run_directory(tmp_path):
    result = CliRunner().invoke(cli, ["status", str(tmp_path)])
    assert result.exit_code == 2 and "not a run directory" in result.output and result.output.count("\n") == 1


def test_a_plan_predicts_what_the_campaign_then_takes(make_config):
    config = make_config(guests=[{"Li": "1..2"}], samples=8, sampling={"steps": 20}, resources={"min_shards": 2})
    plan = plan_campaign(config, seconds=3.0)
    assert (plan.tasks, plan.hosts, plan.samples, plan.shards) == (14, 7, 112, 2)
    assert plan.calibration.failed == 0 and plan.calibration.tasks >= 8
    assert plan.gpu_hours is None and plan.core_hours == pytest.approx(plan.wall_hours * min(plan.workers, 2))
    assert not Path(config.output).exists()  # nothing was created

    from inpaint_hpc.planning.create_run import create_run

    run = create_run(config)
    worker = ShardWorker(run.path, threads=1, name="w")
    seconds = sum(worker.run_unit(unit).seconds for unit in run.pending_units())
    worker.close()
    assert 1 / 10 < plan.core_hours * 3600 / seconds < 10  # other processes share the machine
    disk = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    assert 0.7 * disk < plan.disk_bytes < 3 * disk  # the fixed part of a tiny run dominates
    assert len(list(run.path.rglob("*"))) < plan.inodes


def test_a_plan_without_calibration(make_config):
    plan = plan_campaign(make_config(resources={"actors": 3, "threads": 2}), seconds=0)
    assert plan.calibration is None and (plan.workers, plan.threads) == (3, 2)
    assert plan.core_hours == pytest.approx(plan.cost * 25e-6 / 3600)
    assert plan.wall_hours == pytest.approx(plan.core_hours / 6)


def test_plan_on_the_command_line(make_config, tmp_path):
    (tmp_path / "campaign.yaml").write_text(make_config(guests=[{"Cs": 1}, {"Li": [1, 30]}]).to_yaml())
    arguments = ["plan", str(tmp_path / "campaign.yaml"), "--seconds", "0", "--device", "cpu"]
    shown = CliRunner().invoke(cli, arguments).output
    assert "no room for the guests" in shown and "CPU core hours" in shown and "average CPU core" in shown
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).output)
    assert found["tasks"] + sum(found["left_out"].values()) == 21
    bad = CliRunner().invoke(cli, ["plan", str(tmp_path / "nowhere.yaml")])
    assert bad.exit_code == 2 and bad.output.count("\n") == 1


def test_a_plan_of_nothing_is_refused(make_config):
    with pytest.raises(InputError, match="no tasks are left"):
        plan_campaign(make_config(guests={"Cs": 40}), seconds=0)


def test_planning_many_tasks_stays_within_its_limits(tmp_path):
    """The script that plans a million tasks, with some thousands."""
    command = [sys.executable, str(ROOT / "benchmarks" / "planning_scale.py"), "--tasks", "4000"]
    command += ["--json", str(tmp_path / "figures.json")]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    figures = json.loads((tmp_path / "figures.json").read_text())
    # Seconds are for an idle machine to keep.
    missed = {name for name in figures["missed"] if not name.endswith(", s")}
    assert figures["tasks"] >= 4000 and missed == set(), result.stdout
    assert result.returncode == bool(figures["missed"]), result.stdout + result.stderr


def bytes_read():
    """What this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux")
def test_a_shard_is_read_from_the_middle_of_the_tables_without_the_rest(make_config, tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from planning_scale import write_hosts
    finally:
        sys.path.pop(0)
    from inpaint_hpc.planning.create_run import create_run

    write_hosts(tmp_path / "hosts.h5", 20_000)
    config = make_config(hosts=str(tmp_path / "hosts.h5"), guests=["Li", "Na"], resources={"shard_tasks": 200})
    run = RunDirectory(create_run(config).path)
    run.tasks(run.rows(run.unit(0)))  # what is imported on the way does not count
    before = bytes_read()
    tasks = run.tasks(run.rows(run.unit(run.n_shards // 2)))
    whole = sum((run.path / name).stat().st_size for name in ("tasks.h5", "hosts.h5"))
    assert bytes_read() - before < whole / 10
    assert len(tasks) <= 200 and all(len(task.host) >= 4 for task in tasks)
