"""One driver per host and run at a time: two would be safe, but would do the same work."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import time
from pathlib import Path

from inpaint_hpc.errors import InputError, StorageError

from .processes import identity, is_alive

EXPIRY = 60.0


class DriverLock:
    """A lock file that names its holder, and is void when that process has ended or its heartbeat is old.

    Args:
        path: the file.
        expiry: s without `refresh` after which others may take the lock.
    """

    def __init__(self, path: str | Path, expiry: float = EXPIRY) -> None:
        """Name the file; nothing is taken before `acquire`."""
        self.path = Path(path)
        self.expiry = expiry
        self._content: str | None = None

    def acquire(self) -> bool:
        """Take the lock; False if a driver on another host holds it, in which case both may work.

        Raises:
            InputError: a living driver on this host holds it.
            StorageError: the run directory cannot be written.
        """
        content = json.dumps({"host": socket.gethostname(), "owner": identity(), "key": secrets.token_hex(8)})
        for _ in range(10):
            try:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                if not self._void():
                    return False
                self._remove()
                continue
            except OSError as error:
                raise StorageError(f"{self.path.parent}: cannot be written ({error.strerror})") from None
            try:
                os.write(descriptor, content.encode())
            except OSError as error:
                self.path.unlink(missing_ok=True)
                raise StorageError(f"{self.path.parent}: cannot be written ({error.strerror})") from None
            finally:
                os.close(descriptor)
            self._content = content
            return True
        raise InputError(f"{self.path}: several drivers start at once; try again")

    def _void(self) -> bool:
        """Whether the lock may be removed; False when it belongs to another host and is fresh."""
        try:
            age = time.time() - self.path.stat().st_mtime
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return True
        if age > self.expiry:
            return True
        try:
            holder = json.loads(text)
            host, owner = holder["host"], holder["owner"]
        except (ValueError, KeyError, TypeError):
            host, owner = "", ""  # being written right now, or its writer was killed in between
        if host not in ("", socket.gethostname()):
            return False
        if host and not is_alive(owner):
            return True
        pid = owner.partition(":")[0] or "unknown"
        raise InputError(
            f"{self.path.parent}: another driver (process {pid}) works on it; watch it with `inpaint-hpc status`, or "
            f"end it first"
        )

    def refresh(self) -> None:
        """Renew the heartbeat of the holder."""
        if self._mine():
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Release the lock, if it is still ours."""
        if self._mine():
            self._remove()
        self._content = None

    def _mine(self) -> bool:
        try:
            return self._content is not None and self.path.read_text(encoding="utf-8") == self._content
        except OSError:
            return False

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise StorageError(f"{self.path.parent}: cannot be written ({error.strerror})") from None
            raise
