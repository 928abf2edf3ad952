"""A file for HDF5 to write to when it does not fit in memory and the disk may be full.

HDF5 ends the process with a segmentation fault when it cannot write while it closes a file.  A `FullDiskFile` never
lets it know: it remembers the error, keeps in memory what the disk did not take, and whoever writes asks `check` now
and then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class FullDiskFile:
    """A new file with the methods that h5py asks of a file object.

    Args:
        path: the file; it is locked as long as the sink is open, see `remove_stale`.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(self._descriptor)
        self._position = 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the first error that writing met, if any.

        Raises:
            OSError: the disk is full, a quota is used up ...
        """
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file and give up its lock."""
        os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        size = os.fstat(self._descriptor).st_size
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence]
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def write(self, data: Any) -> int:
        """Write at the position; always succeeds as far as the caller can see."""
        data = memoryview(data).cast("B")
        start, length = self._position, len(data)
        self._position += length
        try:
            while len(data) and self._error is None:
                written = os.pwrite(self._descriptor, data, start)
                start, data = start + written, data[written:]
        except OSError as error:
            self._error = error
        if len(data):
            self._kept.append((start, bytes(data)))
        return length

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the position; zeros where nothing was written."""
        view = memoryview(buffer).cast("B")
        found = os.pread(self._descriptor, len(view), self._position)
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        for start, data in self._kept:
            low, high = max(start, self._position), min(start + len(data), self._position + len(view))
            if low < high:
                view[low - self._position : high - self._position] = data[low - start : high - start]
        self._position += len(view)
        return len(view)

    def read(self, size: int) -> bytes:
        """`size` bytes from the position; h5py takes an object for a file by this method, and uses `readinto`."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        """As of any file; always succeeds as far as the caller can see."""
        size = self._position if size is None else size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._error = self._error or error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""


def remove_stale(path: Path) -> int:
    """Remove temporary files that killed writers of `path` left beside it; their number.

    Those of living writers are locked.  Where the file system has no locks nothing is removed.
    """
    removed = 0
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            descriptor = os.open(temporary, os.O_RDWR)
            try:
                if _lock(descriptor):
                    temporary.unlink()
                    removed += 1
            finally:
                os.close(descriptor)
    return removed


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
