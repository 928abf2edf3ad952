"""Claims of several drivers on one run: one owner each, void when the owner is gone, silent or a former life."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from inpaint_hpc.cluster import shard_claims as module
from inpaint_hpc.cluster.shard_claims import Claims

_HOLD = """
import sys, time
from inpaint_hpc.cluster.shard_claims import Claims
claims = Claims(sys.argv[1], "other")
claims.open(alone=True)
print(claims.take(3), flush=True)
time.sleep(600)
"""


def opened(path, name="driver", alone=True, **options):
    claims = Claims(path, name, **options)
    claims.open(alone)
    return claims


def test_one_owner_at_a_time(tmp_path):
    first, second = opened(tmp_path, "a"), opened(tmp_path, "b")
    assert first.take(7) and first.take(7) and not second.take(7)
    assert second.holder(7) == "a" and second.all() == {7} and second.mine == set()
    second.release(7)  # not its own: nothing happens
    assert second.holder(7) == "a"
    first.release(7)
    assert second.holder(7) is None and second.take(7)
    assert stat.S_IMODE((tmp_path / "claims").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "claims").iterdir())
    first.close()
    second.close()
    assert list((tmp_path / "claims").iterdir()) == []


def test_many_at_once_give_each_shard_to_one(tmp_path):
    drivers = [opened(tmp_path, f"d{index}") for index in range(4)]
    begin = threading.Barrier(4)

    def grab(claims):
        begin.wait()
        for shard in range(100):
            claims.take(shard)

    threads = [threading.Thread(target=grab, args=(claims,)) for claims in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(shard for claims in drivers for shard in claims.mine)
    assert taken == list(range(100))


def test_claims_of_a_killed_process_of_this_machine_are_void_at_once(tmp_path):
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline().strip() == "True"
        mine = opened(tmp_path, "mine")
        assert not mine.take(3)
        other.kill()
        other.wait()
        assert mine.take(3)


def test_claims_of_a_silent_owner_expire(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    silent, mine = opened(tmp_path, "silent", expiry=30.0), opened(tmp_path, "mine", expiry=30.0)
    assert silent.take(1) and not mine.take(1)
    for _ in range(10):  # beats keep it
        now[0] += 20.0
        os.utime(silent._sign, ns=(0, silent._sign.stat().st_mtime_ns + 10**9))
        assert not mine.take(1)
    now[0] += 29.0
    assert not mine.take(1) and mine.held_for(1) == pytest.approx(229.0)
    now[0] += 2.0
    assert mine.holder(1) is None and mine.take(1)
    silent.release(1)  # it wakes up again: what is another's stays
    assert mine.holder(1) == "mine" and not silent.take(1)


def test_old_signs_of_life_need_not_be_watched_for_long(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    silent, mine = opened(tmp_path, "silent"), opened(tmp_path, "mine")
    assert silent.take(1)
    os.utime(silent._sign, ns=(0, mine._sign.stat().st_mtime_ns - 3600 * 10**9))
    assert not mine.take(1)  # clocks may differ: not on the first look
    now[0] += 16.0
    assert mine.take(1)


def test_a_new_life_takes_what_its_former_one_left(tmp_path):
    former, other = opened(tmp_path, "driver-5_0"), opened(tmp_path, "driver-5_1")
    assert former.take(1) and other.take(2)
    new = opened(tmp_path, "driver-5_0")
    assert new.take(1) and not new.take(2)
    beside = opened(tmp_path, "driver-5_1", alone=False)  # of the same name on another machine
    assert not beside.take(2)


def test_half_written_claims_are_respected_for_a_while(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    mine = opened(tmp_path, "mine", expiry=30.0)
    (tmp_path / "claims" / "shard-000004.json").write_text("")
    assert not mine.take(4)
    now[0] += 31.0
    assert mine.take(4)


def test_where_nothing_can_be_written_all_is_ours(tmp_path):
    (tmp_path / "claims").write_text("not a folder")
    claims = opened(tmp_path)
    assert claims.take(1) and claims.mine == {1}
    claims.beat()
    claims.close()
