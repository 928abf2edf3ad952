"""A private Ray node on this machine: own folder, free ports, token, and guaranteed clean-up.

`ray start --block` runs under a watchdog process (watchdog.py) that kills all of it when this process ends, however it
ends.  Nothing here, and nothing in Ray itself, touches other Ray clusters of the same user.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.cluster.executor import ClusterError, one_line
from inpaint_hpc.cluster.processes import FOLDER, end, end_orphans, identity, is_alive, marks
from inpaint_hpc.environment import VARIABLES
from inpaint_hpc.errors import InputError

_PREFIX = "ihpc-"
# Ray's sockets are at most 65 characters below its folder, and a socket's path has at most 107.
_LONGEST_ROOT = 107 - 65 - len("/ihpc-12345678/r")
OBJECT_STORE_BYTES = 100 * 2**20  # reports are small; about the least that Ray accepts
SHARED_MEMORY = "/dev/shm"
# If grpc can be imported (ray[client]), Ray also starts a client server on a fixed port, open to the network, and
# fails if a second run holds that port; there is no option to prevent it.
_START = "import sys; sys.modules['grpc'] = None; from ray.scripts.scripts import main; main()"


def temporary_root() -> Path:
    """Where session folders go: TMPDIR unless its name is too long for sockets, else /tmp."""
    root = Path(tempfile.gettempdir())
    return root if len(str(root)) <= _LONGEST_ROOT else Path("/tmp")


@cache
def _secret() -> str:
    """One secret for all clusters of this process: Ray reads the token once per process and keeps it."""
    return secrets.token_hex(32)


def write_token(path: Path) -> Path:
    """Write a file with the secret, readable only by this user; every process of the cluster needs it.

    Raises:
        FileExistsError: there is one already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_secret())
    return path


def ray_environment(token: Path, local: bool) -> dict[str, str]:
    """Ray's variables for any process of a cluster.

    Args:
        token: file with the secret.
        local: the whole cluster is on this machine and listens on 127.0.0.1 only.
    """
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Unused metrics cost a few per cent of a core.
        "RAY_enable_metrics_collection": "false",
        "RAY_event_stats": "false",
        "RAY_worker_register_timeout_seconds": "300",
        # Ray prints a screenful on stdout for each death of a worker; the driver reports deaths.
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    }
    if local:
        # Otherwise Ray replaces 127.0.0.1 by the outer address and listens on all interfaces.
        variables["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return variables


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the variables of any other Ray cluster, such as RAY_ADDRESS."""
    return {name: value for name, value in environment.items() if not name.startswith("RAY_")}


class RayNode:
    """One Ray node: the head of its own cluster, or a member of another.

    Args:
        run: the run directory that the processes are marked with.
        cpus, gpus: resources to offer.
        token: file with the cluster's secret; by default a new one in the node's own folder.
        address: of the head to join; None starts a head.
        ip: this node's address; 127.0.0.1 keeps the cluster on this machine.
        variables: more environment variables for all processes.
    """

    def __init__(
        self,
        run: str | Path,
        cpus: int,
        gpus: int = 0,
        token: Path | None = None,
        address: str | None = None,
        ip: str = "127.0.0.1",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a node; nothing is started before `start`."""
        self.run = Path(run).resolve()
        self.cpus, self.gpus, self.ip = cpus, gpus, ip
        self.head_address = address
        self.variables = dict(variables or {})
        self.address: str | None = None
        self._token = token
        self._folder: Path | None = None
        self._session: Path | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._vital: list[psutil.Process] = []

    @property
    def environment(self) -> dict[str, str]:
        """Ray's variables that a process needs to join.

        Raises:
            RuntimeError: the node is not started.
        """
        if self._folder is None:
            raise RuntimeError("the Ray node is not started")
        return ray_environment(self._token or self._folder / "token", self.ip == "127.0.0.1")

    def start(self, timeout: float = 180.0) -> None:
        """Start the node and wait until others can connect to it.

        Raises:
            ClusterError: Ray does not start, with its last words.
            InputError: no place for its files.
        """
        self._end_processes()
        if self._folder is not None and not self._folder.exists():
            self._folder = None  # removed by a watchdog that was told to end
        folder = self._folder = self._folder or self._make_folder()
        # Ray makes its folder readable by everyone, but the enclosing one stays private.  Ray would mistake the files
        # of a dead session for those of a live one, so each start has its own folder.
        session = self._session = folder / f"r{len(list(folder.glob('r[0-9]*')))}"
        session.mkdir()
        environment = clean_environment(os.environ) | VARIABLES | self.environment | self.variables
        environment |= marks(folder, self.run)
        parent = str(PACKAGE_FOLDER.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [parent, environment.get("PYTHONPATH", "")]))
        watchdog = self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "inpaint_hpc.cluster.ray.watchdog", str(folder), *self._command(session)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            cwd=folder,
        )
        try:
            self._wait_until_up(watchdog, session, folder / "ray.log", timeout)
        except BaseException:
            self.stop()
            raise

    def _command(self, temporary: Path) -> list[str]:
        place = ["--address", self.head_address] if self.head_address else ["--head", "--port", "0"]
        options = {
            "node-ip-address": self.ip,
            "num-cpus": self.cpus,
            "num-gpus": self.gpus,
            "object-store-memory": OBJECT_STORE_BYTES,
            "temp-dir": temporary,
            "node-manager-port": 0,
            "object-manager-port": 0,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "dashboard-agent-listen-port": 0,
            "dashboard-agent-grpc-port": 0,
            "include-log-monitor": "false",
        }
        if not self.head_address:
            options["include-dashboard"] = "false"
        if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
            # Ray avoids it when it is too small, and ends when it is read-only or missing, as in some containers.
            options["plasma-directory"] = temporary
        pairs = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [
            sys.executable,
            "-c",
            _START,
            "start",
            *place,
            *pairs,
            "--block",
            "--disable-usage-stats",
        ]

    def _make_folder(self) -> Path:
        root = temporary_root()
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
            (folder / "owner.json").write_text(
                json.dumps({"run": str(self.run), "owner": identity()}), encoding="utf-8"
            )
            if self._token is None:
                write_token(folder / "token")
        except OSError as error:
            raise InputError(
                f"{root}: no place for Ray's files ({error.strerror}); set TMPDIR to a short path with some space"
            ) from None
        return folder

    def _wait_until_up(self, watchdog: subprocess.Popen[bytes], session: Path, log: Path, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        # The last thing that `ray start --block` does before it blocks, and not atomic.
        written = session / "ray_current_cluster"
        seen: dict[int, psutil.Process] = {}
        while not (written.exists() and written.read_text(encoding="utf-8").strip()):
            if watchdog.poll() is not None:
                raise self._failure(_last_words(log))
            seen |= {process.pid: process for process in _vital_processes(watchdog)}
            if not all(map(_lives, seen.values())):
                # Ray itself would wait for half a minute.
                raise self._failure("one of its processes ended at once")
            if time.monotonic() > deadline:
                raise ClusterError(f"Ray did not start within {timeout:.0f} s: {_last_words(log)}")
            time.sleep(0.05)
        self.address = self.head_address or written.read_text(encoding="utf-8").strip()
        self._vital = _vital_processes(watchdog)

    def _failure(self, why: str) -> ClusterError:
        """Ray does not start; where the user can do without it, say so."""
        alone = "; `--cluster inline` runs without Ray, in one process" if self._token is None else ""
        places = f"its files are in {SHARED_MEMORY} and {temporary_root()}"
        return ClusterError(f"Ray does not start ({places}): {why}{alone}")

    def alive(self) -> bool:
        """Whether the essential processes are running."""
        if self._watchdog is None or self._watchdog.poll() is not None:
            return False
        return all(map(_lives, self._vital))

    def last_words(self, pid: int) -> str:
        """The end of what a worker process of this node wrote to stderr, in one line; '' if it wrote nothing."""
        if self._session is None:
            return ""
        for path in sorted((self._session / "session_latest" / "logs").glob(f"worker-*-{pid}.err")):
            lines = [
                line
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
                if not line.startswith(":")
            ]
            fatal = [line for line in lines if line.startswith("Fatal Python error")]
            if fatal or lines:
                return one_line((fatal or lines)[-1])
        return ""

    def stop(self) -> None:
        """End all processes of the node and remove its files; may be called again."""
        self._end_processes()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder, self._session = None, None

    def _end_processes(self) -> None:
        watchdog, self._watchdog, self._vital, self.address = self._watchdog, None, [], None
        if watchdog is None:
            return
        # Closing its stdin would remove the folder, and the token with it.
        told = watchdog.stdin
        assert told is not None
        with contextlib.suppress(OSError):
            told.write(b"s")
            told.flush()
        try:
            watchdog.wait(20.0)
        except subprocess.TimeoutExpired:
            watchdog.kill()
            watchdog.wait()
        with contextlib.suppress(OSError):
            told.close()
        end({FOLDER: str(self._folder)})


def _vital_processes(watchdog: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The children of the watchdog without which a node is lost."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(watchdog.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.name() in ("raylet", "gcs_server"):
                    found.append(process)
    return found


def clean_up(run: str | Path) -> int:
    """Kill processes that dead drivers of a run left on this machine and remove their files; returns how many."""
    run = Path(run).resolve()
    ended = end_orphans(run)
    for folder in temporary_root().glob(f"{_PREFIX}*"):
        try:
            owner = json.loads((folder / "owner.json").read_text(encoding="utf-8"))
            if owner["run"] == str(run) and not is_alive(owner["owner"]):
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another user's, or not one of ours
    return ended


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _last_words(log: Path, limit: int = 400) -> str:
    try:
        lines: Sequence[str] = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "no output"
    errors = [line for line in lines if "Error" in line or "ERR" in line] or lines[-3:]
    return one_line(" ".join(errors[-3:]) or "no output", limit)
