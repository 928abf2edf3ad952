"""The dev cluster as tests use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

DEV_CLUSTER = Path(__file__).resolve().parents[2] / "slurm" / "dev-cluster"
# Set where tests may install packages, such as in CI.
MAY_INSTALL = os.environ.get("INPAINT_HPC_INSTALL_SLURM", "") not in ("", "0")
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


def bring_up() -> DevCluster:
    """A cluster that is up; skips the test where there is no SLURM and none may be installed."""
    found = all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in ("slurmctld", "munged"))
    if not found and not MAY_INSTALL:
        pytest.skip("the SLURM packages are not installed; INPAINT_HPC_INSTALL_SLURM=1 lets the tests install them")
    # Not below pytest's own folder, whose name may be too long for sockets.
    cluster = DevCluster(Path(tempfile.mkdtemp(prefix="ihpc-slurm-")))
    cluster.script("up", *(["--install"] if MAY_INSTALL and not found else []))
    return cluster
