"""Real Ray on this machine: same answer, deaths of everything, nothing left behind, nothing open to others."""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.driver import drive
from inpaint_hpc.cluster.executor import ClusterError
from inpaint_hpc.cluster.local import Workers, choose_workers, make_executor, run_campaign
from inpaint_hpc.cluster.processes import RUN, marked, marks
from inpaint_hpc.cluster.ray.node import RayNode, clean_up, temporary_root, write_token
from inpaint_hpc.errors import InputError


def processes(run):
    return marked({RUN: str(run.path.resolve())})


def session_folders(run):
    """Folders of Ray sessions of this run."""
    return [f.parent for f in temporary_root().glob("ihpc-*/owner.json") if str(run.path.resolve()) in f.read_text()]


def assert_nothing_left(run):
    assert [(process.pid, process.name()) for process in processes(run)] == []
    assert session_folders(run) == []


def named(run, part):
    """Processes of a run with a word in their name or command."""
    found = []
    for process in processes(run):
        try:
            if part in process.name() or any(part in word for word in process.cmdline()[:1]):
                found.append(process)
        except psutil.Error:
            continue
    return found


class Watch:
    """Looks at a campaign from within, once workers are busy; may kill."""

    def __init__(self, action):
        self.action, self.done = action, False

    def __call__(self, state):
        if not self.done and state.units_done:
            self.done = True
            self.action()


@pytest.mark.parametrize(("grpc", "actors", "shards"), [(True, 2, 5), (False, 1, 2)])
def test_actors_give_the_inline_answer_in_private(tiny_run, reference, tmp_path, monkeypatch, grpc, actors, shards):
    """Where grpc can be imported, for whatever reason, Ray wants a server on a port of its own."""
    run, seen = tiny_run(min_shards=shards), {}
    assert find_spec("grpc") is not None
    if not grpc:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text("import sys\nsys.modules['grpc'] = None\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")  # somebody else's cluster
    before = dict(os.environ)

    def look():
        pids = {process.pid for process in processes(run)}
        listening = [c.laddr.ip for c in psutil.net_connections() if c.pid in pids and c.status == psutil.CONN_LISTEN]
        (folder,) = session_folders(run)
        modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("", "token")}
        actors = named(run, "UnitActor")
        variables = [process.environ() for process in actors]
        seen.update(listening=listening, modes=modes, variables=variables, sessions={os.getsid(p) for p in pids})

    report = run_campaign(run, actors=actors, progress=Watch(look))
    assert report.tasks_pending == 0 and report.state.deaths == 0 and report.state.units_done == run.n_shards
    found = compare(reference, collect_run(run).path)
    assert found.same_tasks and found.unpaired == 0 < found.samples
    # Other shards are other batches, which round differently.
    assert found.within_tolerance >= (1.0 if run.n_shards == 5 else 0.99) * found.samples
    assert seen["listening"] and {ip.removeprefix("::ffff:") for ip in seen["listening"]} == {"127.0.0.1"}
    assert seen["modes"] == {"": 0o700, "token": 0o600}
    assert len(seen["variables"]) == actors
    for variables in seen["variables"]:
        assert variables["RAY_AUTH_MODE"] == "token" and variables["OMP_NUM_THREADS"] == "1"
        assert "RAY_ADDRESS" not in variables or variables["RAY_ADDRESS"].startswith("127.0.0.1:")
    assert os.getsid(0) not in seen["sessions"]
    assert {name: os.environ.get(name) for name in before} == before
    assert_nothing_left(run)


def test_other_shards_give_the_same_answer(tiny_run, reference):
    run = tiny_run(min_shards=21)
    assert run.n_shards > 5
    assert run_campaign(run, "inline").tasks_pending == 0
    found = compare(reference, collect_run(run).path)
    assert found.same_tasks and found.unpaired == 0
    assert found.within_tolerance >= 0.99 * found.samples > 0


def test_deaths_of_an_actor_and_of_the_raylet_and_a_task_that_kills(tiny_run, reference):
    run = tiny_run(min_shards=10)
    killer = next(run.unit(shard, 1, 2) for shard in range(run.n_shards) if run.shard(shard)[1] > 1)
    kills = []

    class KilledWorker(ShardWorker):
        """Dies without a word whenever it meets one certain task; slow enough to be killed in time."""

        def run_unit(self, unit):
            import os
            import time

            if unit.shard == killer.shard and unit.start <= killer.start < unit.stop:
                os._exit(1)
            time.sleep(0.5)
            return super().run_unit(unit)

    def kill(state):
        # Right after a death there may be none to kill: then at the next call.
        for victim, name, done in (("actor", "UnitActor", 0), ("raylet", "raylet", 2)):
            if state.units_done > done and victim not in kills:
                for process in named(run, name)[:1]:
                    process.kill()
                    kills.append(victim)

    report = drive(run, make_executor(run.path, Workers(2, "cpu", 1), factory=KilledWorker), kill)
    assert kills == ["actor", "raylet"]
    assert report.tasks_pending == 0 and report.state.isolated == report.state.failed == 1
    with Archive(collect_run(run).path) as archive:
        failures = archive.failures()
        assert failures.id.tolist() == [task.id for task in run.tasks(run.rows(killer))]
        assert "killed its worker" in failures.error[0] and failures.attempts[0] >= 3
    found = compare(reference, run.archive_path)
    assert (found.only_first, found.only_second, found.different_status) == (0, 0, 1)
    assert run.damaged_units() == {}
    assert_nothing_left(run)


def test_nothing_is_left_after_an_error(tiny_run):
    run = tiny_run()

    def fail():
        assert processes(run)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_campaign(run, actors=1, progress=Watch(fail))
    assert_nothing_left(run)
    run.set_aside(run.result_units()[0])  # idle cores may have finished all before the error
    run.weights_path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="unreadable weights"):
        run_campaign(run)
    assert_nothing_left(run)


@pytest.mark.slow
def test_workers_that_never_come_up_are_given_up(tiny_run):
    run = tiny_run()

    class Stillborn:
        def __init__(self, *_):
            import os

            os._exit(1)

    with pytest.raises(ClusterError, match="end before they have done anything"):
        drive(run, make_executor(run.path, Workers(1, "cpu", 1), factory=Stillborn))
    assert_nothing_left(run)


def command(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "inpaint_hpc", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition, process=None, seconds=600.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.05)


def test_ctrl_c_and_sigkill_leave_nothing_and_resume_goes_on(tiny_run):
    run = tiny_run(samples=128, min_shards=12)  # units long enough that some are left at each signal
    driver = command("resume", str(run.path))
    wait_for(lambda: run.result_units(), driver)
    driver.send_signal(signal.SIGINT)
    said, _ = driver.communicate(timeout=600)
    assert driver.returncode == 130 and "stopped by SIGINT" in said
    assert_nothing_left(run)

    done = len(run.result_units())
    assert done < run.n_shards
    driver = command("resume", str(run.path), "--actors", "1")
    wait_for(lambda: len(run.result_units()) > done or driver.poll() is not None)
    assert driver.poll() is None
    # Without its watchdog nothing ends by itself: orphans, for the next driver to find.
    watchdog = next(process for process in processes(run) if "inpaint_hpc.cluster.ray.watchdog" in process.cmdline())
    watchdog.suspend()
    driver.kill()
    driver.communicate()
    assert named(run, "raylet") and session_folders(run)
    assert clean_up(run.path) > 0
    assert_nothing_left(run)
    assert run_campaign(run, "inline", verify=True).tasks_pending == 0


def test_a_node_that_dies_while_it_starts_is_started_again(tiny_run):
    run = tiny_run()
    driver = command("resume", str(run.path), "--actors", "1")
    wait_for(lambda: named(run, "raylet"), driver)
    for process in named(run, "raylet"):
        process.kill()
    said, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0 and not run.pending_units(), said
    assert_nothing_left(run)


def test_a_batch_system_ends_all_processes_at_once(tiny_run):
    """The driver starts nothing again and does not wait for a Ray that is gone; soon all would be killed."""
    run = tiny_run(samples=128, min_shards=12)
    driver = command("resume", str(run.path))
    try:
        wait_for(lambda: run.result_units(), driver)
        for process in [*processes(run), psutil.Process(driver.pid)]:
            process.terminate()
        # SLURM sends SIGKILL after 30 seconds.
        wait_for(lambda: not session_folders(run) and not processes(run), seconds=30.0)
        wait_for(lambda: run.heartbeats()["driver"]["status"] == "stopped by SIGTERM")
        # The claims and the lock go last, after the end has been told.
        wait_for(lambda: not os.listdir(run.path / "claims") and not (run.path / "driver.lock").exists())
    finally:
        driver.kill()
        driver.communicate()
    assert run_campaign(run, "inline", verify=True).tasks_pending == 0


def test_ray_ends_by_itself_when_its_driver_is_killed(tiny_run):
    run = tiny_run()
    script = (
        "import sys, time\n"
        "from inpaint_hpc.cluster.ray.node import RayNode\n"
        "node = RayNode(sys.argv[1], cpus=1)\n"
        "node.start()\n"
        "print(node.address, flush=True)\n"
        "time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline().startswith("127.0.0.1:")
    assert named(run, "raylet") and session_folders(run)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not processes(run) and not session_folders(run))


def test_other_processes_are_never_touched(tmp_path):
    """The right mark but a living owner: another driver's, not ours to end."""
    environment = os.environ | marks("folder", tmp_path)
    sleeper = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    try:
        assert clean_up(tmp_path) == 0
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_what_has_ended_is_not_waited_for(tmp_path):
    """Where init takes no notice of the end of processes, as in some containers, they stay in the list of processes."""
    ended = subprocess.Popen(["sleep", "600"], env=os.environ | marks("folder", tmp_path), start_new_session=True)
    try:
        assert marked({RUN: str(tmp_path)}, session=ended.pid)
        ended.kill()
        wait_for(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE)
        assert marked({RUN: str(tmp_path)}, session=ended.pid) == []
    finally:
        ended.wait()


def test_workers_for_this_machine():
    assert choose_workers(3, 2, "cpu") == Workers(3, "cpu", 2)
    cores = len(os.sched_getaffinity(0))
    automatic = choose_workers(device="cpu")
    assert 1 <= automatic.actors <= cores and automatic.actors * automatic.threads <= max(cores, automatic.actors)
    assert choose_workers(1, None, "cpu").threads == cores
    assert Workers(3, "cuda", 1, gpus=1).gpus_per_actor * 3 <= 1.0
    assert Workers(2, "cuda", 1, gpus=2).gpus_per_actor == 1.0


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root to mount")
def test_shared_memory_that_cannot_be_written(tiny_run):
    run = tiny_run()
    # A file system of its own: a remount would reach beyond the namespace.
    words = f"mount -t tmpfs -o ro none /dev/shm && {sys.executable} -m inpaint_hpc resume {run.path} --actors 1"
    done = subprocess.run(["unshare", "-m", "bash", "-c", words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_nothing_left(run)


def test_where_ray_does_not_start_its_places_and_the_way_without_it_are_named(tiny_run):
    """Its object store is a file, in shared memory, of more than may be written here."""
    run = tiny_run()
    done = subprocess.run(
        [sys.executable, "-m", "inpaint_hpc", "resume", run.path, "--actors", "1"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60 * 2**20, 60 * 2**20)),
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: Ray does not start") and "/dev/shm" in last and "`--cluster inline`" in last
    assert_nothing_left(run)


# One call of each server: the registry of the head, tasks of a node, and objects of a node.
CALLS = ("InternalKVGcsService/InternalKVKeys", "NodeManagerService/ShutdownRaylet", "ObjectManagerService/Push")


def test_a_node_that_others_can_reach_answers_only_to_the_secret(tmp_path):
    """Ray listens on all networks of such a node, so what docs/cluster.md says of the secret must hold."""
    import grpc

    node = RayNode(tmp_path, cpus=1, token=write_token(tmp_path / "token"), ip="127.0.0.11")
    node.start()
    try:
        processes_ = psutil.Process().children(recursive=True)
        ports = {c.laddr.port: p.name() for p in processes_ for c in p.net_connections() if c.status == "LISTEN"}
        refused = []
        for port, name in ports.items():
            if "Agent" in name:
                with pytest.raises(urllib.error.HTTPError, match="401"):
                    urllib.request.urlopen(f"http://127.0.0.11:{port}/get_or_create_runtime_env", data=b"")
                refused.append("agent")
                continue
            for call in CALLS:
                with grpc.insecure_channel(f"127.0.0.11:{port}") as channel, pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(f"/ray.rpc.{call}")(b"", timeout=120)
                if caught.value.code() != grpc.StatusCode.UNIMPLEMENTED:  # it belongs to another server
                    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
                    refused.append(call)
    finally:
        node.stop()
    assert sorted(refused) == sorted([*CALLS, "agent"])


def test_session_folders_are_short_enough_for_sockets(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 80)))
    assert temporary_root() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    assert temporary_root() == Path("/var/tmp")
