"""Files on the file systems that clusters have."""

import ast
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.task_tables import read_ids
from inpaint_hpc.crystals.packed import read_packed
from inpaint_hpc.crystals.packed_writing import write_packed

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inpaint_hpc"
SMOKE = ROOT / "tests" / "data" / "smoke.h5"
# What flock answers on NFS without lockd and on Lustre without `flock`; and on DVS, an error of the kernel alone.
NO_LOCKS = (errno.ENOLCK, 524)


@pytest.fixture
def without_locks(tmp_path):
    """Makes the environment of processes for whom no file system has locks."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "nolocks.c", tmp_path / "nolocks.so"
    source.write_text("#include <errno.h>\nint flock(int fd, int op) { errno = NUMBER; return -1; }\n")

    def make(number):
        subprocess.run(["cc", "-shared", "-fPIC", f"-DNUMBER={number}", "-o", library, source], check=True)
        return {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(library)}

    return make


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_campaign_on_a_file_system_without_locks(without_locks, make_config, tmp_path, number):
    environment = without_locks(number)
    refused = subprocess.run(
        [sys.executable, "-c", f"import h5py; h5py.File({str(SMOKE)!r}, 'r', locking=True)"],
        capture_output=True,
        env=environment,
    )
    assert b"unable to lock" in refused.stderr
    write_packed(tmp_path / "hosts.h5", read_packed(SMOKE, "0:2"))
    (tmp_path / "campaign.yaml").write_text(make_config(hosts=[{"path": str(tmp_path / "hosts.h5")}]).to_yaml())
    done = subprocess.run(
        [sys.executable, "-m", "inpaint_hpc", "run", tmp_path / "campaign.yaml", "--cluster", "inline"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "2 tasks (2 done, 0 failed)" in done.stdout


def test_a_lock_of_another_program_keeps_nobody_from_reading(make_run, tmp_path):
    run = make_run()
    archive = next((ROOT / "tests" / "data" / "golden").glob("*.h5"))
    for path in (run.path / "tasks.h5", run.path / "hosts.h5", SMOKE, archive):
        shutil.copy(path, tmp_path / path.name)
    with (
        open(tmp_path / "tasks.h5", "rb") as tasks,
        open(tmp_path / SMOKE.name, "rb") as packed,
        open(tmp_path / archive.name, "rb") as results,
    ):
        for file in (tasks, packed, results):
            fcntl.flock(file, fcntl.LOCK_EX)
        assert len(read_ids(tmp_path, None)) == run.n_tasks
        assert len(read_packed(tmp_path / SMOKE.name)) == 220
        with Archive(tmp_path / archive.name) as opened:
            assert len(opened)


def test_hdf5_is_opened_for_reading_in_one_place():
    """Writers hand HDF5 a file object of Python, which is not locked."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "h5py.File":
                found.append((path.name, ast.unparse(node.args[0]), ast.unparse(node.args[1])))
    assert sorted(found) == [
        ("append.py", "sink", "'w'"),
        ("files.py", "buffer", "'w'"),
        ("files.py", "path", "'r'"),
        ("write.py", "buffer", "'w'"),
    ]
