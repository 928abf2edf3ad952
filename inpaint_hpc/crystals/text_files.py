"""Text files, also packed ones."""

from __future__ import annotations

import importlib
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from inpaint_hpc.errors import InputError

PACKING = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
MAX_BYTES = 1 << 30  # of a file that is read whole


def unpacked(path: Path) -> Path:
    """The name of a file without '.gz', '.bz2' or '.xz'."""
    return path.with_suffix("") if path.suffix.lower() in PACKING else path


@contextmanager
def open_text(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """A file for reading as UTF-8, unpacked while it is read.

    Raises:
        InputError: within the block too: the packed file is damaged.
    """
    packing = PACKING.get(path.suffix.lower())
    opener = open if packing is None else importlib.import_module(packing).open
    try:
        with opener(path, "rb") as file, io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors) as text:
            yield text
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError("the packed file is cut off or damaged") from error


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file.

    Raises:
        InputError: it is empty, damaged, or larger than `MAX_BYTES`.
    """
    pieces: list[str] = []
    with open_text(path, errors) as file:
        # Python sets aside what it is asked for: a gigabyte for every file would be slow.
        while piece := file.read(1 << 16):
            pieces.append(piece)
            if len(pieces) << 16 > MAX_BYTES:
                raise InputError(f"is larger than {MAX_BYTES >> 20} MiB; split it")
    text = "".join(pieces)
    if not text.strip():
        raise InputError("the file is empty")
    return text
