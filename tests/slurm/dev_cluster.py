"""The dev cluster as tests use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

DEV_CLUSTER = Path(__file__).resolve().parents[2] / "slurm" / "dev-cluster"
# Set where tests may install packages, and where a missing SLURM is a failure and no reason to skip, such as in CI.
MAY_INSTALL = os.environ.get("INPAINT_HPC_INSTALL_SLURM", "") not in ("", "0")
MUST_RUN = os.environ.get("INPAINT_HPC_REQUIRE_SLURM", "") not in ("", "0")
_PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "RAY_")


class DevCluster:
    """The dev cluster in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}
        self.environment = clean | {"INPAINT_HPC_SLURM": str(folder), "SLURM_CONF": str(folder / "etc" / "slurm.conf")}

    def script(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """slurm/dev-cluster with these arguments."""
        # Output goes through a file: daemons must not keep a pipe open that we would read to its end.
        with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(DEV_CLUSTER), *arguments], env=self.environment, stdout=output, stderr=errors, timeout=300
            )
            output.seek(0)
            errors.seek(0)
            result = subprocess.CompletedProcess(done.args, done.returncode, output.read(), errors.read())
        assert not check or result.returncode == 0, result.stderr
        return result

    def run(self, *command: str, timeout: float = 60) -> str:
        """What a SLURM command prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def check(self, *command: str) -> str:
        """What a SLURM command says on stderr."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stderr

    def kill_daemon(self, name: str) -> None:
        """SIGKILL for slurmctld, slurmd-n1, slurmdbd ...; its jobs go on."""
        pid = int((self.folder / "pid" / name).read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10, name)

    def restart_controller(self, *options: str) -> None:
        """Kill slurmctld and start it again; with '-c' it has forgotten all jobs."""
        self.kill_daemon("slurmctld")
        if "-c" in options:
            for path in (self.folder / "state" / "slurmctld").iterdir():
                if path.name.startswith("job_state"):
                    path.unlink()
        self.script("up")

    def reconfigure(self, line: str = "", instead: str = "") -> None:
        """Replace a line of slurm.conf while it runs; without one, everything is as it was."""
        conf = self.folder / "etc" / "slurm.conf"
        original = conf.with_suffix(".original")
        if not original.exists():
            shutil.copy(conf, original)
        text = original.read_text()
        assert line in text
        conf.write_text(text.replace(line, instead) if line else text)
        self.run("scontrol", "reconfigure")

    def rank_node(self, rank: int) -> str:
        """Node of a rank of the one job that runs."""
        steps = [p for p in self.processes() if "inpaint_hpc.cluster.slurm.start" in p.cmdline() and p.name() != "srun"]
        ranks = {p.environ().get("SLURM_PROCID"): p.environ().get("SLURMD_NODENAME", "") for p in steps}
        return ranks[str(rank)]

    def processes(self) -> list[psutil.Process]:
        """Living processes of the cluster and of its jobs, without the tests themselves."""
        mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        conf = self.environment["SLURM_CONF"]
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid in mine or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                ours = process.environ().get("SLURM_CONF") == conf
                if ours or any(str(self.folder) in word for word in process.cmdline()):
                    found.append(process)
        return found


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait, or fail with what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def bring_up(*options: str) -> DevCluster:
    """A cluster that is up; skips the test where there is no SLURM and none may be installed.

    Args:
        options: of `dev-cluster up`.
    """
    needed = ["slurmctld", "munged", *(["slurmdbd", "mariadbd"] if "--accounting" in options else [])]
    missing = [name for name in needed if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if missing and not MAY_INSTALL:
        said = f"SLURM is not installed ({', '.join(missing)}); INPAINT_HPC_INSTALL_SLURM=1 lets the tests install it"
        (pytest.fail if MUST_RUN else pytest.skip)(said)
    if "--network" in options and os.getuid():
        pytest.skip("networks of their own for the nodes need root")
    # Not below pytest's own folder, whose name may be too long for sockets.
    cluster = DevCluster(Path(tempfile.mkdtemp(prefix="ihpc-slurm-")))
    try:
        cluster.script("up", *(["--install"] if missing else []), *options)
    except BaseException:
        cluster.script("down", "--wipe", check=False)
        raise
    return cluster


def a_cluster(*options: str) -> Iterator[DevCluster]:
    """A cluster for a fixture: up, and down again with nothing left of it."""
    cluster = bring_up(*options)
    try:
        yield cluster
    finally:
        cluster.script("down", "--wipe")
        wait_until(lambda: not cluster.processes(), 10, "no process of the cluster is left")
