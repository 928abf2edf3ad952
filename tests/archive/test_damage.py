"""Damaged files: always one clear line, never wrong numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_up_results import changing, make_record, write_units

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.storage import DamagedError, checksum, create_dataset, datasets, digest, verify_checksum
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.errors import InputError

ROOT = Path(__file__).parents[2]


def one_line(message, path):
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 300


@pytest.fixture(scope="module", params=["unit", "archive"])
def intact(request, tmp_path_factory):
    """The bytes of a result file, and of an archive, which is laid out in another way."""
    folder = tmp_path_factory.mktemp("intact")
    paths = write_units(folder, 12, 6)
    if request.param == "archive":
        collect(paths, folder / "archive.h5")
        paths = [folder / "archive.h5"]
    assert verify(paths[0]) == []
    return paths[0].read_bytes()


def test_truncated_anywhere(intact, tmp_path):
    path = tmp_path / "cut.h5"
    n = len(intact)
    for cut in sorted({0, 1, 7, 8, 9, 47, 48, 96, 511, 512, 2048, n - 4096, n - 512, n - 1, *range(5, n, n // 40)}):
        path.write_bytes(intact[:cut])
        for read in (Archive, lambda path: Archive(path, verify=False), verify_checksum):
            with pytest.raises(DamagedError) as caught:
                read(path)
            one_line(str(caught.value), path)
        (problem,) = verify(path)
        one_line(problem, path)


def test_zeros_in_the_middle(intact, tmp_path):
    """What a file system may leave after a power cut: the right length, and blocks of zeros."""
    path = tmp_path / "zeros.h5"
    for start in range(0, len(intact) - 4096, 4096):
        block = intact[start : start + 4096]
        if not any(block):
            continue
        path.write_bytes(intact[:start] + bytes(4096) + intact[start + 4096 :])
        problems = verify(path)
        assert problems, start
        one_line(problems[0], path)
        with pytest.raises(InputError):
            Archive(path)


_FLIPS = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[3])
from made_up_results import same
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.errors import InputError

intact, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
with Archive(sys.argv[1]) as archive:
    expected = list(archive.iter_records())
rng = np.random.default_rng(0)
for position in [*range(0, 40), *rng.integers(0, len(intact), 160)]:
    flipped = bytearray(intact)
    flipped[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(flipped)
    if not verify(path):
        assert position < 20, position  # says that there is a checksum; without it that of the content is looked at
        with Archive(path) as archive:
            assert all(same(old, new) for old, new in zip(expected, archive.iter_records(), strict=True)), position
"""


def test_flipped_bits_are_found_or_harmless(intact, tmp_path):
    """In a process of its own, which must not crash either."""
    (tmp_path / "intact.h5").write_bytes(intact)
    command = [sys.executable, "-c", _FLIPS, tmp_path / "intact.h5", tmp_path / "flipped.h5", Path(__file__).parent]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def with_column(intact, path, name, change):
    """A file in which a column holds something else, under checksums that hold."""
    path.write_bytes(intact)
    with changing(path) as file:
        table, column = name.split("/")
        values = file[name][:]
        changed = change(values)
        del file[name]
        create_dataset(file, table, column, changed)
        file.attrs["checksum"] = checksum(file)
    return path


def first(value):
    def change(values):
        values[0] = value
        return values

    return change


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("samples/guest_frac_coords", first(2.0), r"sample 100 has guest_frac_coords outside \[0, 1\)"),
        ("samples/valid", first(7), "valid that is neither 0 nor 1"),
        ("samples/candidate", lambda v: v[:-1], "/samples/candidate has .* rows, not"),
        ("samples/guest_offsets", lambda v: v[::-1], "/samples/guest_offsets does not start at 0 or runs backwards"),
        ("samples/guest_offsets", lambda v: np.append(v[:-1], v[-1] + 5), "/samples/guest_frac_coords has .* counts"),
        ("tasks/sample_offsets", lambda v: np.append(v[:-1], v[-1] - 1), "/samples has .* rows, .* counts"),
        ("tasks/id", first(b"xyz"), "an id that is not a sha256"),
        ("tasks/id", lambda v: v[[0, 0, *range(2, len(v))]], "holds .* more than once"),
        ("tasks/host", first(10_000), "of /hosts does not exist|not readable"),
        ("tasks/status", first(b"lost"), "status that is unknown"),
        ("tasks/status", first(b"failed"), "failed tasks but"),
        ("tasks/guests", first(0), r"guests outside \[1, 118\]"),
        ("tasks/n_requested", first(-1), "n_requested below 0"),
        ("hosts/lattice", first(np.nan), "lattice that is no number"),
        ("hosts/numbers", first(1), "not the sha256 of its content"),
        ("hosts/info", first(b"[1]"), "an info that is not a JSON object"),
        ("candidates/energy_per_atom_eV", first(-np.inf), "energy_per_atom_eV that is infinite"),
        ("candidates/min_distance_A", first(np.nan), "min_distance_A that is negative or no number"),
        ("failures/attempts", first(0), "attempts below 1"),
        ("candidates/rank", lambda v: v.astype(float), "holds float64 .* damaged"),
    ],
)
def test_wrong_values_under_right_checksums(intact, tmp_path, name, change, match):
    """What a faulty program would write."""
    path = with_column(intact, tmp_path / "a.h5", name, change)
    problems = verify(path)
    assert problems
    one_line(problems[0], path)
    assert re.search(match, problems[0]), problems


def test_other_contents_under_right_checksums(intact, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(intact)
    with changing(path) as file:
        file.attrs["n_tasks"] = 3
        file.attrs["checksum"] = checksum(file)
    assert "the attribute n_tasks says 3" in verify(path)[0]
    path.write_bytes(intact)
    with changing(path) as file:
        del file["samples/valid"]
    assert verify(path) == [f"{path}: the dataset '/samples/valid' is missing; the file is damaged"]
    path.write_bytes(intact)
    with changing(path) as file:
        file.attrs["weights_sha256"] = "e" * 64
    assert verify(path) == [f"{path}: the checksum of the attributes does not hold"]
    path.write_bytes(intact)
    with h5py.File(path, "a") as file:
        file.attrs["weights_sha256"] = "e" * 64
    assert verify(path) == [f"{path}: damaged or truncated, its checksum does not hold"]


def test_checksum_without_python(intact, tmp_path):
    """The first 512 bytes say what sha256sum has to find in the rest."""
    path = tmp_path / "a.h5"
    path.write_bytes(intact)
    found = subprocess.run(f"tail -c +513 '{path}' | sha256sum", shell=True, capture_output=True, text=True).stdout
    assert intact[:512].decode("ascii").split("\n")[:2] == ["inpaint_hpc archive", found.split()[0]]


def test_checksums_are_of_the_content(tmp_path):
    """So that those of a repacked file, which has no checksum of bytes, still hold."""
    records = [make_record(k) for k in range(3)]
    sums = set()
    for name in ("a.h5", "b.h5"):
        write_result(tmp_path / name, records, {"created": "2026-01-01"})
        with h5py.File(tmp_path / name) as file:
            sums.add(file.attrs["checksum"])
    assert len(sums) == 1
    with h5py.File(tmp_path / "a.h5") as old, h5py.File(tmp_path / "c.h5", "w") as new:
        for path, dataset in datasets(old):
            copy = new.create_dataset(path, data=dataset[:], dtype=dataset.dtype, chunks=True, compression="lzf")
            copy.attrs.update(dataset.attrs)
        new.attrs.update(old.attrs)
    assert verify(tmp_path / "c.h5") == []
    verify_checksum(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file["samples/candidate"][0] = -1
    assert verify(tmp_path / "c.h5") == [f"{tmp_path / 'c.h5'}: the checksum of /samples/candidate does not hold"]
    with pytest.raises(DamagedError, match="damaged, the checksum of /samples/candidate does not hold"):
        verify_checksum(tmp_path / "c.h5")
    assert digest(np.arange(3, dtype=">i8").astype("<i8")) == np.arange(3, dtype="<i8").tobytes()


def test_unreadable(intact, tmp_path):
    """Permissions are a matter of the file, not damage.  Root may read everything, so another user tries."""
    path = tmp_path / "a.h5"
    path.write_bytes(intact)
    path.chmod(0)
    tmp_path.chmod(0o755)
    script = (
        "import os, h5py, pandas\n"
        "from inpaint_hpc.archive.verify import verify\n"
        "from inpaint_hpc.archive import checks, storage\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "os.geteuid() or os.seteuid(65534)\n"
        "print(*verify('a.h5'), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.stdout == "a.h5: permission denied\n", result.stderr
