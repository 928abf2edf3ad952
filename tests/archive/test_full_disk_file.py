"""Full disks, read-only folders and kills: nothing that was there is lost, and nothing is left behind."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from made_up_results import make_record, same, task_id, write_units

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.full_disk_file import FullDiskFile, remove_stale
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result

ROOT = Path(__file__).parents[2]

_PRELUDE = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from made_up_results import make_record
from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.write import write_result
units = sorted(Path("units").glob("shard-*.h5"))
records = [make_record(k) for k in range(20)]

def attempt(call):
    try:
        call()
    except OSError as error:
        print(error.errno, error.filename, error.strerror, sep="|")
"""


def run(script, folder, **keywords):
    """Run a script in a folder with `units`, `records` and `attempt` at hand."""
    command = [sys.executable, "-c", _PRELUDE.format(here=str(Path(__file__).parent)) + script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, **keywords)


@pytest.fixture
def folder(tmp_path):
    """units/ with 20 tasks, and an archive.h5 of the first half."""
    paths = write_units(tmp_path / "units", 20, 5)
    collect(paths[:2], tmp_path / "archive.h5")
    return tmp_path


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("limit", [0, 100, 3000, 20_000, 50_000])
def test_files_that_may_not_grow(folder, limit):
    """A limit on the size of files is a full disk that needs no disk; it ends HDF5 itself in a crash."""
    before = (folder / "archive.h5").read_bytes()
    result = run(
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        "attempt(lambda: write_result('result.h5', records))\n"
        "attempt(lambda: collect(units, 'archive.h5'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "collect(units, 'second.h5')\n",
        folder,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["27|result.h5|File too large", "27|archive.h5|File too large"]
    assert (folder / "archive.h5").read_bytes() == before
    assert contents(folder) == ["archive.h5", "second.h5", "units"]
    assert verify(folder / "second.h5") == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 80 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", place], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"a small disk needs the right to mount: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_full_disk(folder, small_disk):
    """One unit fits, the next one does not; with room made, writing goes on."""
    write_result(small_disk / "first.h5", [make_record(0)])
    before = (small_disk / "first.h5").read_bytes()
    script = (
        "attempt(lambda: write_result('disk/second.h5', records))\nattempt(lambda: collect(units, 'disk/archive.h5'))\n"
    )
    result = run(script, folder)
    assert result.returncode == 0, result.stderr
    full = "28|disk/{}|No space left on device"
    assert result.stdout.splitlines() == [full.format("second.h5"), full.format("archive.h5")]
    assert contents(small_disk) == ["first.h5"]
    assert (small_disk / "first.h5").read_bytes() == before
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    result = run(script, folder)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert verify(small_disk / "archive.h5") == verify(small_disk / "second.h5") == []


def test_read_only_folder(folder):
    """Root may write anywhere, so it becomes somebody else."""
    before = (folder / "archive.h5").read_bytes()
    folder.chmod(0o555)
    result = run(
        "import inpaint_hpc.archive.append, h5py, numpy.ma\n"  # somebody else may not read the installation
        "os.geteuid() or os.seteuid(65534)\n"
        "attempt(lambda: write_result('result.h5', records))\n"
        "attempt(lambda: collect(units, 'archive.h5'))\n",
        folder,
    )
    folder.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["13|result.h5|Permission denied", "13|archive.h5|Permission denied"]
    assert (folder / "archive.h5").read_bytes() == before
    assert contents(folder) == ["archive.h5", "units"]


@pytest.mark.parametrize("moment", [("check", 1), ("check", 4), ("merge", 1), ("merge", 4)])
def test_killed_while_collecting(folder, moment):
    before = (folder / "archive.h5").read_bytes()
    result = run(
        "def progress(stage, done, total):\n"
        f"    if (stage, done) == {moment!r}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "collect(units, 'archive.h5', progress=progress)\n",
        folder,
    )
    assert result.returncode == -signal.SIGKILL
    assert (folder / "archive.h5").read_bytes() == before
    assert len(contents(folder)) == 2 + (moment[0] == "merge")
    report = collect(sorted((folder / "units").glob("*.h5")), folder / "archive.h5")
    assert (report.tasks, report.complete) == (20, True)
    assert contents(folder) == ["archive.h5", "units"]
    assert verify(folder / "archive.h5") == []


def test_killed_at_random_while_collecting(folder):
    """Again and again, while another process reads: the archive is always one of those that were finished."""
    random.seed(0)
    script = "print('ready', flush=True)\nwhile True:\n    collect(units, 'archive.h5')\n"
    command = [sys.executable, "-c", _PRELUDE.format(here=str(Path(__file__).parent)) + script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(6):
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + random.uniform(0.0, 0.8)
        while time.monotonic() < end:
            with Archive(folder / "archive.h5") as archive:
                assert len(archive) in (10, 20)
        process.kill()
        process.wait()
        process.stdout.close()
        assert verify(folder / "archive.h5") == []
    collect(sorted((folder / "units").glob("*.h5")), folder / "archive.h5")
    assert contents(folder) == ["archive.h5", "units"]
    with Archive(folder / "archive.h5") as archive:
        assert archive.task_ids() == [task_id(k) for k in range(20)]
        assert all(same(record, make_record(k)) for k, record in enumerate(archive.iter_records()))


def test_files_of_living_writers_are_not_stale(tmp_path):
    out = tmp_path / "archive.h5"
    living = FullDiskFile(tmp_path / ".archive.h5.1.aa.tmp")
    (tmp_path / ".archive.h5.2.bb.tmp").touch()
    (tmp_path / ".other.h5.2.bb.tmp").touch()
    assert remove_stale(out) == 1
    assert contents(tmp_path) == [".archive.h5.1.aa.tmp", ".other.h5.2.bb.tmp"]
    living.close()
    assert remove_stale(out) == 1
    assert remove_stale(tmp_path / "no" / "folder.h5") == 0


@pytest.mark.parametrize("limit", [None, 5000])
def test_sink_is_a_file(tmp_path, limit):
    """Against bytes in memory, with random calls, also where the file cannot grow beyond some size."""
    rng = random.Random(1)
    sink, plain = FullDiskFile(tmp_path / "sink"), BytesIO()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or before[0], before[1]))
    try:
        for _ in range(400):
            position = rng.randrange(9000)
            sink.seek(position)
            plain.seek(position)
            if rng.random() < 0.5:
                data = rng.randbytes(rng.randrange(1, 600))
                assert sink.write(data) == plain.write(data)
            else:
                expected = plain.read(rng.randrange(1, 600))
                assert sink.read(len(expected)) == expected
            assert sink.tell() == plain.tell()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if limit is None:
        sink.check()
        sink.truncate(100)
        assert sink.seek(0, os.SEEK_END) == 100
    else:
        with pytest.raises(OSError, match="File too large"):
            sink.check()
        assert 0 < (tmp_path / "sink").stat().st_size <= limit
    sink.close()
