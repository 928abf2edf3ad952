"""One driver per run and host; locks of the dead and of the silent are void."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from inpaint_hpc.cluster.driver_lock import DriverLock
from inpaint_hpc.cluster.processes import identity
from inpaint_hpc.errors import InputError

HOLD = """
import sys, time
from inpaint_hpc.cluster.driver_lock import DriverLock
lock = DriverLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "driver.lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_living_driver_is_respected_and_a_dead_one_is_not(holder, tmp_path):
    lock = DriverLock(tmp_path / "driver.lock")
    with pytest.raises(InputError, match=f"another driver \\(process {holder.pid}\\)"):
        lock.acquire()
    holder.kill()
    holder.wait()
    assert lock.acquire()
    lock.release()
    assert not lock.path.exists()


def test_a_silent_driver_loses_its_lock_and_does_not_take_it_back(holder, tmp_path):
    path = tmp_path / "driver.lock"
    first = DriverLock(path)
    first._content = path.read_text()  # as if this were the holder, which then falls silent
    old = time.time() - 100.0
    os.utime(path, (old, old))
    second = DriverLock(path)
    assert second.acquire()
    first.refresh()
    first.release()
    assert json.loads(path.read_text())["owner"] == identity()
    os.utime(path, (old, old))
    second.refresh()
    assert time.time() - path.stat().st_mtime < 50.0


def test_a_driver_on_another_host_is_no_reason_to_wait(tmp_path):
    path = tmp_path / "driver.lock"
    path.write_text(json.dumps({"host": f"not-{socket.gethostname()}", "owner": "1:0.0"}))
    lock = DriverLock(path)
    assert lock.acquire() is False
    lock.release()
    assert path.exists()


def test_a_lock_of_a_recycled_pid_is_void(tmp_path):
    path = tmp_path / "driver.lock"
    path.write_text(json.dumps({"host": socket.gethostname(), "owner": f"{os.getpid()}:12345.00"}))
    assert DriverLock(path).acquire()
