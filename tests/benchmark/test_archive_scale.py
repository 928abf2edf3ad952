"""The archive that `benchmarks/archive_scale.py` makes is one as a campaign would write it."""

import sys
from pathlib import Path

import pytest

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("spread", [False, True])
def test_copies_of_tasks_are_tasks_of_their_own(tmp_path, monkeypatch, spread):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.delitem(sys.modules, "archive_scale", raising=False)
    import archive_scale

    monkeypatch.setattr(archive_scale, "_TASKS_TOGETHER", 30)
    source = ROOT / "tests" / "data" / "golden" / "archive-1.2.h5"
    sizes = archive_scale.write_archive(source, tmp_path / "many.h5", 200, spread)
    assert verify(tmp_path / "many.h5") == []
    with Archive(source) as one, Archive(tmp_path / "many.h5") as many:
        assert sizes["samples"] >= 200 and sizes["tasks"] == len(set(many.task_ids())) == len(many)
        assert len(many.hosts()) == sizes["hosts"] > len(one.hosts()) and sizes["failures"] == len(many.failures())
        copied = len(one.candidates()) * sizes["tasks"] // len(one)
        assert sizes["candidates"] == (int(many.samples().valid.sum()) if spread else copied)
