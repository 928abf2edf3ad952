"""Writing result files: all or nothing, with a checksum inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from inpaint_hpc.files import atomic_path

from .checks import block_problems
from .columns import from_records
from .records import TaskRecord
from .storage import USER_BLOCK, create_dataset, seal, sign


def write_result(path: str | Path, records: Iterable[TaskRecord], attributes: Mapping[str, Any] | None = None) -> int:
    """Write the records of a unit to a result file, atomically; an existing file is replaced.

    Args:
        path: the file, e.g. RUN/results/000/shard-000017.h5; a missing folder is made.
        records: of distinct tasks, at least one; equal hosts are stored once.
        attributes: text, numbers and booleans as they are, mappings and lists as JSON.  By custom `campaign` (its
            id), `configuration`, `weights_name`, `weights_sha256` (which `collect` refuses to mix), `versions`,
            `unit`.

    Returns:
        Size of the file in bytes.

    Raises:
        ValueError: no records, a task twice, or a record with values that a result may not have (a coordinate
            outside [0, 1), an energy that is infinite ...); see `check_record`.
        OSError: the file cannot be written, e.g. the disk is full; nothing is left behind.
    """
    import h5py

    path, records = Path(path), list(records)
    if not records:
        raise ValueError(f"{path}: no records to write")
    block = from_records(records)
    problems = block_problems(block)
    if problems:
        raise ValueError(f"{path}: {problems[0]}")
    # In memory first: on a full disk HDF5 ends the process with a segmentation fault when it closes a file.
    buffer = BytesIO()
    with h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file:
        for table, columns in block.items():
            for name, data in columns.items():
                create_dataset(file, table, name, data)
        seal(file, attributes or {})
    sign(buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return buffer.getbuffer().nbytes


def check_record(record: TaskRecord) -> None:
    """Refuse a record that `write_result` would refuse, while it is still known which task is to blame.

    Raises:
        ValueError: the first value that a result may not have, in one line.
    """
    problems = block_problems(from_records([record]))
    if problems:
        raise ValueError(problems[0])
