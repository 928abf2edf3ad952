"""Which driver works on which shard: one small file per claimed shard, so that drivers share a run without a server.

RUN/claims/shard-000017.json names the owner of shard 17; RUN/claims/owner-KEY.json is the heartbeat of an owner.  A
claim is void when its owner's file is gone or has not been touched for a while.  Claims only save computing time: two
owners of one shard would write the same result.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import private_folder

from .processes import identity, is_alive

# Network file systems may show a touch a minute late.
EXPIRY = 90.0
# A heartbeat is watched for this long however old it looks, because clocks of nodes may differ, s.
_WATCH = 15.0
_CLAIM = re.compile(r"shard-(\d+)\.json")


@dataclass
class _Sign:
    """The last heartbeat seen of an owner: the time of its file, and when it changed by this process's clock."""

    touched: int
    changed: float


class Claims:
    """The claims of one driver, and its view of the claims of others.

    Args:
        run_path: the run directory.
        name: name of the driver.
        expiry: s without a heartbeat after which the claims of an owner are void.

    Attributes:
        mine: shards that this driver has claimed.
    """

    def __init__(self, run_path: str | Path, name: str, expiry: float = EXPIRY) -> None:
        """Choose a key for this driver; nothing is written before `open`."""
        self.folder = Path(run_path) / "claims"
        self.name, self.expiry = name, expiry
        self.mine: set[int] = set()
        self._key = secrets.token_hex(8)
        self._sign = self.folder / f"owner-{self._key}.json"
        self._signs: dict[str, _Sign] = {}
        self._since: dict[tuple[int, str], float] = {}
        self._opened = False

    def open(self, alone: bool) -> None:
        """Start the heartbeat file; claims of dead drivers of this machine become void.

        Args:
            alone: no other driver of this name is alive anywhere, so leftover claims of that name are void too.
        """
        with contextlib.suppress(OSError, InputError):  # of another user: then nothing is written here
            private_folder(self.folder)
            _write(self._sign, {"name": self.name, "machine": _machine(), "process": identity()})
            self._opened = True
        for path in self.folder.glob("owner-*.json"):
            owner = _read(path)
            former = alone and owner.get("name") == self.name
            if path != self._sign and (former or _is_dead(owner)):
                path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Renew the heartbeat of this driver."""
        if self._opened:
            with contextlib.suppress(OSError):
                os.utime(self._sign)

    def take(self, shard: int) -> bool:
        """Claim a shard; False if a living driver holds it.  If nothing can be written, every claim succeeds."""
        if shard in self.mine:
            return True
        path = self._path(shard)
        for _ in range(3):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                if self.holder(shard) is not None:
                    return False
                path.unlink(missing_ok=True)
                continue
            except OSError:
                break  # writing the results will report what is wrong
            with contextlib.suppress(OSError), os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps({"owner": self._key, "name": self.name}))
            self.mine.add(shard)
            return True
        self.mine.add(shard)
        return True

    def steal(self, shard: int) -> None:
        """Claim a shard, whoever holds it."""
        self._path(shard).unlink(missing_ok=True)
        self.take(shard)

    def release(self, shard: int) -> None:
        """Release a shard; does nothing if it is not, or no longer, ours."""
        if shard in self.mine:
            self.mine.discard(shard)
            with contextlib.suppress(OSError):
                if _read(self._path(shard)).get("owner") == self._key:
                    self._path(shard).unlink(missing_ok=True)

    def holder(self, shard: int) -> str | None:
        """Name of the living driver that holds a shard, possibly this one; None if there is none."""
        path = self._path(shard)
        try:
            written = path.stat().st_mtime_ns
        except OSError:
            return None
        claim = _read(path)
        key = str(claim.get("owner", ""))
        if key == self._key:
            return self.name
        # A claim without an owner is being written right now, or its writer was killed in between.
        living = self._lives(key) if key else self._changes(f"claim {shard}", written)
        if not living:
            return None
        self._since.setdefault((shard, key), time.monotonic())
        return str(claim.get("name", "another driver"))

    def held_for(self, shard: int) -> float:
        """How long the present owner has been seen to hold a shard, s; 0 if no living driver holds it."""
        if self.holder(shard) is None:
            return 0.0
        key = str(_read(self._path(shard)).get("owner", ""))
        return time.monotonic() - self._since.setdefault((shard, key), time.monotonic())

    def all(self) -> set[int]:
        """Shards with a claim, valid or void."""
        with contextlib.suppress(OSError):
            matches = [_CLAIM.fullmatch(entry.name) for entry in os.scandir(self.folder)]
            return {int(match[1]) for match in matches if match}
        return set()

    def close(self) -> None:
        """Release everything."""
        for shard in list(self.mine):
            self.release(shard)
        with contextlib.suppress(OSError):
            self._sign.unlink(missing_ok=True)
            if not any(self.folder.glob("owner-*.json")):
                for shard in self.all():  # of those that were killed
                    self._path(shard).unlink(missing_ok=True)

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.json"

    def _lives(self, key: str) -> bool:
        path = self.folder / f"owner-{key}.json"
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False  # it has ended
        except OSError:
            return True
        return self._changes(key, touched) and not _is_dead(_read(path))

    def _changes(self, what: str, touched: int) -> bool:
        """Whether a file is still being touched, judged by our clock and, after a while, by the file system's."""
        now = time.monotonic()
        sign = self._signs.get(what)
        if sign is None or sign.touched != touched:
            self._signs[what] = _Sign(touched, now)
            return True
        unchanged = now - sign.changed
        if unchanged < min(_WATCH, self.expiry):
            return True
        try:
            age = (self._sign.stat().st_mtime_ns - touched) * 1e-9
        except OSError:
            age = 0.0
        return max(age, unchanged) < self.expiry


def _machine() -> str:
    """This machine and its process-id namespace: containers have their own."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}:{space}"


def _is_dead(owner: dict[str, str]) -> bool:
    """Whether an owner was a process of this machine that has ended."""
    return owner.get("machine") == _machine() and not is_alive(str(owner.get("process", "")))


def _write(path: Path, record: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(record))


def _read(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
