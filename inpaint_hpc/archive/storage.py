"""Files of the schema on disk: how they are opened, laid out and sealed with checksums.

A file begins with a user block of 512 bytes, text with the sha256 of everything behind it; HDF5 skips it.  It is
checked before HDF5 sees the bytes, because some damage makes HDF5 loop for ever, and because it is fast.

The content has checksums, too, which survive repacking: every dataset carries the sha256 of its bytes as the attribute
`sha256`, and the file's attribute `checksum` is the sha256 of its attributes and of all datasets' names, types, shapes
and digests.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import open_hdf5

from .columns import plain
from .schema import (
    SCHEMA,
    TABLES,
    UNITS,
    check_version,
    column,
    known_column,
    required,
    tables_of,
    text_dtype,
    version_of,
)

if TYPE_CHECKING:
    import h5py

USER_BLOCK = 512
CHUNK_BYTES = 1 << 17
# A chunk index costs more than it saves below this.
_SMALL = 4096
_BLOCK_BYTES = 1 << 22
_SIGNED = b"inpaint_hpc archive\n"
# HDF5 2 would keep 8 MB of chunks for each of the 45 datasets.
CACHE_BYTES = 1 << 20


class DamagedError(InputError):
    """A result file that was written well and is not what was written any more."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever h5py raises on damaged bytes into one line."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: permission denied") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise DamagedError(f"{path}: not readable as a result file; truncated, damaged or another format") from error


def open_file(path: str | Path, to_merge: bool = False) -> h5py.File:
    """Open a result file or archive for reading; the caller closes it.

    Args:
        path: the file.
        to_merge: refuse also what a newer minor version of the schema wrote, since copying would lose columns.

    Raises:
        DamagedError: an `InputError`: truncated, damaged, not HDF5, or a dataset is missing.
        InputError: not there, not permitted, or HDF5 of another kind or schema.
    """
    import h5py

    path = Path(path)
    require_file(path)
    with readable(path):
        file = open_hdf5(path, rdcc_nbytes=CACHE_BYTES)
        try:
            check_version(file, path, to_merge)
            for table, name in required(file):
                dataset = file.get(f"{table}/{name}")
                if not isinstance(dataset, h5py.Dataset):
                    raise DamagedError(f"{path}: the dataset '/{table}/{name}' is missing; the file is damaged")
                _check_kind(dataset, table, name, path)
        except BaseException:
            file.close()
            raise
    return file


def attributes_of(file: h5py.File) -> dict[str, Any]:
    """The file's attributes as plain values, JSON decoded; without the checksum."""
    found = {}
    for name, value in file.attrs.items():
        if name == "checksum":
            continue
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, str) and value[:1] in ("{", "["):
            with suppress(ValueError):  # a text that only looks like JSON
                value = json.loads(value)
        found[name] = value
    return found


def digest(array: np.ndarray) -> bytes:
    """What of an array goes into a sha256: its bytes, little-endian, in C order."""
    array = np.ascontiguousarray(array)
    return (array.byteswap() if sys.byteorder == "big" and array.dtype.kind in "iuf" else array).tobytes()


def create_dataset(file: h5py.File, table: str, name: str, data: np.ndarray) -> None:
    """Write a whole column with its digest."""
    shape, small = data.shape, data.nbytes < _SMALL
    dataset = file.create_dataset(
        f"{table}/{name}",
        data=to_file(data),
        track_times=False,
        **({} if small else {"chunks": _chunks(shape[0], shape[1:], data.dtype), **_filters(data.dtype)}),
    )
    describe(dataset, table, name)
    dataset.attrs["sha256"] = np.bytes_(hashlib.sha256(digest(data)).hexdigest())


def create_appendable(file: h5py.File, table: str, name: str, dtype: np.dtype, tail: tuple[int, ...]) -> h5py.Dataset:
    """An empty column that can grow; its digest is up to who fills it."""
    dataset = file.create_dataset(
        f"{table}/{name}",
        shape=(0, *tail),
        maxshape=(None, *tail),
        dtype=_file_dtype(dtype),
        track_times=False,
        chunks=_chunks(None, tail, dtype),
        **_filters(dtype),
    )
    describe(dataset, table, name)
    return dataset


def describe(dataset: h5py.Dataset, table: str, name: str) -> None:
    """Unit and description as attributes."""
    what = column(table, name)
    if what is not None and what.unit:
        dataset.attrs["unit"] = np.bytes_(what.unit)
    if what is not None:
        dataset.attrs["description"] = np.bytes_(what.what)


def seal(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Write the file's attributes and, last, its checksum."""
    counts = {f"n_{table}": len(file[f"{table}/{next(iter(TABLES[table]))}"]) for table in tables_of(file)}
    version = version_of((path.partition("/")[0], path.partition("/")[2]) for path, _ in datasets(file))
    fixed = {"schema": SCHEMA, "schema_version": version, "units": UNITS, **counts}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    for name, value in {"created": created, **attributes, **fixed}.items():
        value = plain(value)
        if value is not None:
            file.attrs[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
    file.attrs["checksum"] = checksum(file)


def checksum(file: h5py.File, digests: Mapping[str, str] | None = None) -> str:
    """sha256 over attributes and over name, type, shape and digest of each dataset; digests by default as stored."""
    lines = [json.dumps(plain({k: v for k, v in file.attrs.items() if k != "checksum"}), sort_keys=True)]
    for path, dataset in datasets(file):
        stored = digests[path] if digests is not None else bytes(dataset.attrs["sha256"]).decode("ascii")
        lines.append(f"{path} {dataset.dtype.str} {list(dataset.shape)} {stored}")
    return "sha256:" + hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """All datasets of a file by path, sorted."""
    import h5py

    found: list[tuple[str, h5py.Dataset]] = []
    file.visititems(lambda path, item: found.append((path, item)) if isinstance(item, h5py.Dataset) else None)
    return sorted(found, key=lambda pair: pair[0])


def blocks(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    """The rows of a dataset, some megabytes at a time."""
    if dataset.ndim == 0:
        yield np.asarray(dataset[()])
        return
    row = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=np.int64)))
    step = max(1, _BLOCK_BYTES // row)
    for start in range(0, len(dataset), step):
        yield dataset[start : start + step]


def damaged(file: h5py.File) -> list[str]:
    """What does not agree with the checksums: '/table/name' of datasets, or 'the attributes'; empty when all is well.

    Reads every byte, in constant memory.
    """
    found, digests = [], {}
    for path, dataset in datasets(file):
        running = hashlib.sha256()
        try:
            for rows in blocks(dataset):
                running.update(digest(rows))
            stored = bytes(dataset.attrs["sha256"]).decode("ascii")
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, PermissionError):
                raise
            found.append(f"/{path}")
            continue
        digests[path] = running.hexdigest()
        if digests[path] != stored:
            found.append(f"/{path}")
    if not found and checksum(file, digests) != file.attrs.get("checksum"):
        found.append("the attributes")
    return found


def verify_checksum(path: str | Path) -> None:
    """Read a result file or archive completely and compare with its checksum, that of the bytes if it has one.

    Raises:
        DamagedError: an `InputError`: some bytes are not those that were written.
        InputError: as `open_file`.
    """
    path = Path(path)
    if verify_bytes(path):
        return
    with open_file(path) as file, readable(path):
        wrong = damaged(file)
    if wrong:
        raise DamagedError(f"{path}: damaged, the checksum of {wrong[0]} does not hold")


def verify_bytes(path: Path) -> bool:
    """Whether a file has a checksum of its bytes, which then holds.  HDF5 takes no part.

    Raises:
        DamagedError: it does not hold.
        InputError: no such file, or it may not be read.
    """
    require_file(path)
    with readable(path), path.open("rb") as file:
        block = file.read(USER_BLOCK)
        if not block.startswith(_SIGNED):
            return False
        found = _digest_of_rest(file)
    if block != _user_block(found):
        raise DamagedError(f"{path}: damaged or truncated, its checksum does not hold")
    return True


def sign(file: BinaryIO) -> None:
    """Write the user block of a closed HDF5 file that was made with room for it; `file` is open for reading too."""
    file.seek(USER_BLOCK)
    block = _user_block(_digest_of_rest(file))
    file.seek(0)
    file.write(block)


def _user_block(digest_of_rest: str) -> bytes:
    text = f"{digest_of_rest}\nis the sha256 of all that follows these {USER_BLOCK} bytes; the rest is HDF5.\n"
    return (_SIGNED + text.encode("ascii")).ljust(USER_BLOCK, b"\0")


def _digest_of_rest(file: BinaryIO) -> str:
    running = hashlib.sha256()
    while piece := file.read(_BLOCK_BYTES):
        running.update(piece)
    return running.hexdigest()


def require_file(path: Path) -> None:
    """Refuse what is no file with something in it.

    Raises:
        DamagedError: an empty file.
        InputError: no such file, a folder, or it may not be looked at.
    """
    with readable(path):
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a result file")
        if path.stat().st_size == 0:
            raise DamagedError(f"{path}: the file is empty")


def _check_kind(dataset: h5py.Dataset, table: str, name: str, path: Path) -> None:
    what = known_column(table, name)
    kind = np.dtype("S") if what.dtype == "S" else np.dtype(what.dtype)
    if dataset.dtype.kind != kind.kind or dataset.shape[1:] != what.tail or dataset.ndim != 1 + len(what.tail):
        raise DamagedError(
            f"{path}: the dataset '/{table}/{name}' holds {dataset.dtype} of shape {dataset.shape}, not {kind} with "
            f"rows of shape {what.tail}; the file is damaged"
        )


def to_file(array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """The array as its dataset holds it, little-endian and with texts of the width of `dtype` marked as UTF-8."""
    dtype = _file_dtype(array.dtype if dtype is None else dtype)
    # A view, because numpy takes the two kinds of text for equal and would not convert; HDF5 does not either.
    return np.ascontiguousarray(array, dtype=np.dtype(dtype.str)).view(dtype)


def _file_dtype(dtype: np.dtype) -> np.dtype:
    return text_dtype(dtype.itemsize) if dtype.kind == "S" else dtype.newbyteorder("<")


def _filters(dtype: np.dtype) -> dict[str, Any]:
    # Fletcher32 because gzip leaves chunks that do not shrink without a check of their own.
    return {"compression": "gzip", "compression_opts": 4, "shuffle": dtype.kind != "S", "fletcher32": True}


def _chunks(rows: int | None, tail: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    row = max(1, dtype.itemsize * int(np.prod(tail, dtype=np.int64)))
    n = max(1, CHUNK_BYTES // row)
    return (n if rows is None else min(n, rows), *tail)
