"""Who works on which shard: a small file per shard in hand, so that several drivers share one run without a server.

RUN/claims/shard-000017.json names the owner that has shard 17 in hand; RUN/claims/owner-KEY.json is the sign of life
of an owner.  A claim is void when its owner's file is gone, or has not been touched for a while.  Nothing depends on
claims but the time of the workers: two owners of one shard write the same result.
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

from .processes import identity, is_alive

# Network file systems may show a touch a minute late.
EXPIRY = 90.0
# However old a sign of life looks, it is watched for so long, because clocks of nodes may differ.
_WATCH = 15.0
_CLAIM = re.compile(r"shard-(\d+)\.json")


@dataclass
class _Sign:
    """What was seen last of an owner: the time of its file, and when that changed, on our clock."""

    touched: int
    changed: float


class Claims:
    """The claims of one driver, and what it sees of others'.

    Args:
        run_path: the run directory.
        name: of the driver.
        expiry: s without a sign of life after which the claims of an owner are void.

    Attributes:
        mine: shards that this driver has claimed.
    """

    def __init__(self, run_path: str | Path, name: str, expiry: float = EXPIRY) -> None:
        self.folder = Path(run_path) / "claims"
        self.name, self.expiry = name, expiry
        self.mine: set[int] = set()
        self._key = secrets.token_hex(8)
        self._sign = self.folder / f"owner-{self._key}.json"
        self._signs: dict[str, _Sign] = {}
        self._since: dict[tuple[int, str], float] = {}
        self._opened = False

    def open(self, alone: bool) -> None:
        """Show a sign of life; claims of dead drivers of this machine are void from now on.

        Args:
            alone: no other driver of this name lives anywhere: what is left of others of it is void as well.
        """
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _write(self._sign, {"name": self.name, "machine": _machine(), "process": identity()})
            self._opened = True
        for path in self.folder.glob("owner-*.json"):
            owner = _read(path)
            former = alone and owner.get("name") == self.name
            if path != self._sign and (former or _is_dead(owner)):
                path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Say that this driver lives."""
        if self._opened:
            with contextlib.suppress(OSError):
                os.utime(self._sign)

    def take(self, shard: int) -> bool:
        """Claim a shard; False when a living driver has it.  Where nothing can be written, all is ours."""
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
                break  # the results will say what is wrong
            with contextlib.suppress(OSError), os.fdopen(descriptor, "w") as file:
                file.write(json.dumps({"owner": self._key, "name": self.name}))
            self.mine.add(shard)
            return True
        self.mine.add(shard)
        return True

    def steal(self, shard: int) -> None:
        """Take a shard from whoever has it."""
        self._path(shard).unlink(missing_ok=True)
        self.take(shard)

    def release(self, shard: int) -> None:
        """Give a shard back; nothing if it is not ours (any more)."""
        if shard in self.mine:
            self.mine.discard(shard)
            with contextlib.suppress(OSError):
                if _read(self._path(shard)).get("owner") == self._key:
                    self._path(shard).unlink(missing_ok=True)

    def holder(self, shard: int) -> str | None:
        """Name of the driver that has a shard, this one included; None when nobody living has."""
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
        """For how many s the present owner has been seen to hold a shard; 0 when nobody living has it."""
        if self.holder(shard) is None:
            return 0.0
        key = str(_read(self._path(shard)).get("owner", ""))
        return time.monotonic() - self._since.setdefault((shard, key), time.monotonic())

    def all(self) -> set[int]:
        """Shards with a claim, void or not."""
        with contextlib.suppress(OSError):
            matches = [_CLAIM.fullmatch(entry.name) for entry in os.scandir(self.folder)]
            return {int(match[1]) for match in matches if match}
        return set()

    def close(self) -> None:
        """Give everything back."""
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
        """Whether a file is touched now and then, judged by our clock and, if that takes long, by the file system's."""
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
    """This machine, as far as process ids mean the same: containers have their own."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}:{space}"


def _is_dead(owner: dict[str, str]) -> bool:
    """Whether an owner was a process of this machine that is gone."""
    return owner.get("machine") == _machine() and not is_alive(str(owner.get("process", "")))


def _write(path: Path, record: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(record))


def _read(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
