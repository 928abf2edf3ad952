"""slurm/dev-cluster: a SLURM with two nodes and fake GPUs comes up, works, loses a node, and leaves nothing behind."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from dev_cluster import DEV_CLUSTER, DevCluster, bring_up, wait_until

pytestmark = pytest.mark.slurm


def test_two_nodes_with_two_gpus_each(cluster: DevCluster):
    show = 'echo "$SLURMD_NODENAME $SLURM_NODEID $CUDA_VISIBLE_DEVICES"'
    said = cluster.run("srun", "--nodes=2", "--ntasks=2", "--gres=gpu:2", "bash", "-c", show)
    assert sorted(said.splitlines()) == ["n1 0 0,1", "n2 1 0,1"]


def test_jobs_share_the_gpus_of_a_node(cluster: DevCluster):
    show = "sleep 1; echo $CUDA_VISIBLE_DEVICES"
    said = cluster.run("srun", "--nodes=1", "--ntasks=2", "--exact", "--gpus-per-task=1", "bash", "-c", show)
    assert sorted(said.split()) == ["0", "1"]


def test_up_again_changes_nothing(cluster: DevCluster):
    before = cluster.script("status").stdout
    assert "n2 idle 8 cpus 8000 MB gpu:fake:2" in before
    cluster.script("up")
    assert cluster.script("status").stdout == before


def test_only_its_user_can_look_into_its_folder(cluster: DevCluster):
    for path in (cluster.folder, cluster.folder / "etc", cluster.folder / "etc" / "munge.key"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_kill_of_a_node_and_down_leave_no_process():
    cluster = bring_up()
    try:
        cluster.run("sbatch", "--parsable", "--nodes=2", "--no-kill", "--output=/dev/null", "--wrap=srun sleep 600")

        def sleepers() -> list[str]:
            return [p.environ().get("SLURMD_NODENAME", "") for p in cluster.processes() if p.name() == "sleep"]

        wait_until(lambda: sorted(sleepers()) == ["n1", "n2"], 30, "a step on both nodes")
        cluster.script("node-kill", "2")
        wait_until(lambda: "n2" not in sleepers(), 10, "nothing runs on node 2")
        assert cluster.script("status", check=False).returncode == 3
        cluster.script("node-start", "2")
        assert cluster.script("status").returncode == 0
        # Jobs that ignore signals are ended as well.
        stubborn = cluster.run(
            "sbatch", "--parsable", "--output=/dev/null", "--wrap=trap '' TERM INT; sleep 601"
        ).strip()
        wait_until(lambda: stubborn in cluster.run("squeue", "-h", "-t", "R", "-o", "%i").split(), 20, "the job runs")
    finally:
        cluster.script("down", "--wipe")
    assert [process.cmdline() for process in cluster.processes()] == []
    assert not cluster.folder.exists()


def _refused(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([DEV_CLUSTER, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_bad_folders_are_refused_in_one_line(tmp_path: Path):
    plain = {"PATH": os.environ["PATH"]}
    assert "HOME is not set" in _refused(plain, "status")
    assert "INPAINT_HPC_SLURM" in _refused(plain | {"INPAINT_HPC_SLURM": str(tmp_path / "with space")}, "status")
    assert "too long" in _refused(plain | {"INPAINT_HPC_SLURM": f"/tmp/{'x' * 90}"}, "status")
    assert "never up" in _refused(plain | {"INPAINT_HPC_SLURM": str(tmp_path / "c")}, "env")
    assert "not up" in _refused(plain | {"INPAINT_HPC_SLURM": str(tmp_path / "c")}, "node-kill", "1")
    assert "nodes 1 and 2" in _refused(plain | {"INPAINT_HPC_SLURM": str(tmp_path / "c")}, "node-kill", "3")


def test_missing_packages_are_named(tmp_path: Path):
    # A PATH with the tools the script itself needs, but without SLURM.
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env", "id", "uname", "sed", "cat"):
        (tools / name).symlink_to(next(p for d in ("/usr/bin", "/bin") if (p := Path(d) / name).exists()))
    script = DEV_CLUSTER.read_text().replace('export PATH="$PATH:', 'export PATH="$PATH" IGNORED="')
    copy = tmp_path / "dev-cluster"
    copy.write_text(script)
    done = subprocess.run(
        ["/bin/bash", copy, "up"],
        env={"PATH": str(tools), "INPAINT_HPC_SLURM": str(tmp_path / "c")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "not installed: munged munge slurmctld" in done.stderr and "--install" in done.stderr
    assert not (tmp_path / "c").exists()


def test_processes_of_others_are_never_touched(cluster: DevCluster, tmp_path: Path):
    """A stale record names a living process that is not ours: its start time gives it away."""
    (tmp_path / "pid").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "slurm.conf").write_text("")
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "pid" / "slurmd-n1").write_text(f"{other.pid} 1\n")
        environment = cluster.environment | {"INPAINT_HPC_SLURM": str(tmp_path)}
        subprocess.run([DEV_CLUSTER, "down"], env=environment, timeout=60, check=True, capture_output=True)
        assert psutil.Process(other.pid).is_running() and other.poll() is None
        other.kill()
