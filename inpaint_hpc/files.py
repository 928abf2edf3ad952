"""Atomic writing of files, so that no incomplete file is ever visible, and reading of HDF5."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    import h5py


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A hidden temporary path beside `path` which becomes `path` when the block ends without an exception.

    The parent folder is made if it is missing.  Data and folder are flushed to the disk before the rename counts, so
    that a file that exists is complete, even after a power cut.

    Raises:
        OSError: the folder cannot be made or written to, or the disk is full; the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _fsync(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename = str(path)  # a full disk gives no name, and the hidden one would be confusing
        raise
    if os.name == "posix":
        _fsync(path.parent, os.O_RDONLY)


def private_folder(path: Path) -> None:
    """Make a folder that only this user can look into and write to; an existing one is closed to all others.

    Raises:
        InputError: it belongs to somebody else, or is a link or a file, or cannot be closed.
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(f"{path}: is not a folder of yours, so what it holds is not used; take another run directory")
    if found.st_mode & 0o077:
        path.chmod(0o700)
        if path.lstat().st_mode & 0o022:
            raise InputError(f"{path}: others can write to it and its file system ignores chmod; use another place")


@contextmanager
def atomic_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file which appears at `path`, complete, when the block ends without an exception.

    It is built in memory and written in one go: on a full disk HDF5 itself ends the process with a segmentation fault
    when it closes the file, whereas Python raises.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    import h5py

    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        yield file
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def open_hdf5(path: str | Path, **options: object) -> h5py.File:
    """An HDF5 file opened for reading; the one way in which this package reads HDF5.

    Without a lock: files here are written whole and never change, and many file systems of clusters have no locks
    (NFS without lockd, Lustre without `flock`, DVS), where HDF5 would refuse to open.

    Args:
        path: the file.
        options: more of `h5py.File`.

    Raises:
        OSError: it cannot be read, or is not HDF5.
    """
    import h5py

    return h5py.File(path, "r", locking=False, **options)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
