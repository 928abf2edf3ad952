"""Archives that the code of its time wrote: read as before, and written again without a difference."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
VERSIONS = ("1.0", "1.1", "1.2")
FRAMES = ("tasks", "hosts", "samples", "candidates", "failures", "sites")


def datasets(path: Path) -> dict[str, tuple]:
    """Every dataset by name: type, shape, attributes and bytes."""
    found = {}
    with h5py.File(path) as file:

        def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                attributes = {key: str(value) for key, value in item.attrs.items()}
                found[name] = (item.dtype.str, item.shape, attributes, item[()].tobytes())

        file.visititems(look)
    return found


def plain(value: object) -> object:
    """A value of a frame in a form that JSON holds exactly."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value


def read(path: Path) -> dict[str, object]:
    """All that reading gives: frames by column, and of records what the frames do not have."""
    with Archive(path) as archive:
        frames = {name: getattr(archive, name)() for name in FRAMES}
        records = [
            {
                "task": record.task_id,
                "host": [record.host.name, record.host.info, record.host.numbers, record.host.frac_coords],
                "lattice": record.host.lattice,
                "guests": record.guests,
                "notes": record.notes,
                "seconds": record.seconds,
                "error": [record.error, record.traceback, record.attempts],
                "reference": record.reference_frac_coords,
            }
            for record in archive.iter_records()
        ]
    assert all(isinstance(frame, pd.DataFrame) for frame in frames.values())
    found = {name: {column: plain(frame[column].tolist()) for column in frame} for name, frame in frames.items()}
    return {**found, "records": plain(records)}


@pytest.mark.parametrize("version", VERSIONS)
def test_old_archives_read_as_before(version):
    """What differs from the dump may only be new columns, in which an old archive has no values."""
    path = GOLDEN / f"archive-{version}.h5"
    assert verify(path) == []
    expected, found = json.loads((GOLDEN / f"read-{version}.json").read_text()), read(path)
    assert found["records"] == expected.pop("records")
    for name, columns in expected.items():
        for column, values in columns.items():
            assert found[name][column] == values, f"{name}.{column}"
        for column in set(found[name]) - set(columns):
            assert set(map(str, found[name][column])) <= {"None", "", "-1"}, f"{name}.{column}"


@pytest.mark.parametrize("version", VERSIONS)
def test_old_archives_are_written_again_without_a_difference(version, tmp_path):
    path, again = GOLDEN / f"archive-{version}.h5", tmp_path / "again.h5"
    with Archive(path) as archive:
        write_result(again, list(archive.iter_records()), archive.attributes)
    old, new = datasets(path), datasets(again)
    # Version 1.0 had no column for them; a candidate that is read has them, with what was true then.
    later = {"candidates/origin"} if version < "1.2" else set()
    assert set(new) - later == set(old)
    for name in old:
        assert new[name] == old[name], name


def test_the_files_are_the_ones_that_were_written_then():
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(GOLDEN.glob("*.h5"))}
    assert digests == json.loads((GOLDEN / "sha256.json").read_text())


if __name__ == "__main__":  # makes the dumps; run it with the code whose reading is to be kept
    for one in VERSIONS:
        content = json.dumps(read(GOLDEN / f"archive-{one}.h5"), separators=(",", ":"))
        (GOLDEN / f"read-{one}.json").write_text(content + "\n")
