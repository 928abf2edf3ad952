"""Logs as JSON lines: one object per line, appended whole, so that a kill costs at most the last line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends JSON lines to a file; every line carries `time` (s since 1970).

    Each line is one `write` to a file opened for appending.  A line cut off by a kill is terminated by the next writer
    and skipped by `read_journal`.

    Args:
        path: the file; its folder is made when the first line is written.
    """

    def __init__(self, path: str | Path) -> None:
        """Name the file, which is opened by the first line."""
        self.path = Path(path)
        self._descriptor: int | None = None

    def append(self, **record: object) -> None:
        """Write one line.

        Raises:
            OSError: the file cannot be written, e.g. the disk is full.
        """
        line = json.dumps({"time": round(time.time(), 3), **record}, default=str) + "\n"
        if self._descriptor is None:
            self._descriptor = self._open()
        os.write(self._descriptor, line.encode())

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        return descriptor

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a journal as dictionaries; nothing if there is no such file."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
