"""Comparing archives: every stored column counts, and what is no part of the answer does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from made_up_results import WEIGHTS, changing, make_record

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.schema import TABLES
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "archive-1.2.h5"
NOT_COMPARED = {"tasks/worker"}
EVERY = {f"{table}/{name}" for table in TABLES for name in TABLES[table]}
# They decide what belongs together: a file in which one of them is changed is not one.
STRUCTURE = {"tasks/id", "tasks/host", "tasks/status", "failures/task", "hosts/id", "hosts/info"}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """An archive with every column that there is: an old one with sites and relaxations, and tasks of schema 1.3."""
    folder = tmp_path_factory.mktemp("compare")
    write_result(folder / "new.h5", [make_record(k, newest=True) for k in range(20, 31)], WEIGHTS)
    collect([GOLDEN, folder / "new.h5"], folder / "a.h5")
    return folder / "a.h5"


def columns(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return [f"{table}/{name}" for table in TABLES for name in TABLES[table] if f"{table}/{name}" in file]


def run(*args: object) -> tuple[int, list[str]]:
    result = CliRunner().invoke(cli, ["verify", *map(str, args)])
    return result.exit_code, result.output.splitlines()


def test_an_archive_equals_itself(path, tmp_path):
    found = compare(path, path)
    assert found.equal and found.tasks == 23 and found.columns == ()
    assert run(path, "--against", path)[0] == 0
    assert set(columns(path)) == EVERY


def changed(values: np.ndarray) -> np.ndarray:
    """With another first value that is not missing."""
    flat = values.reshape(-1)
    row = 0 if flat.dtype.kind != "f" else int(np.flatnonzero(~np.isnan(flat))[0])
    if flat.dtype.kind == "S":
        flat[row] = b"{}" if flat[row] != b"{}" else b"x"
    else:
        flat[row] = flat[row] + (0.25 if flat.dtype.kind == "f" else 1)
    return values


@pytest.mark.parametrize("name", sorted(EVERY - STRUCTURE))
def test_a_value_that_differs_is_found_in_every_column(path, tmp_path, name):
    other = tmp_path / "b.h5"
    shutil.copy(path, other)
    with changing(other) as file:
        data = file[name]
        data[...] = changed(data[:])
    found = {one.name: one for one in compare(path, other).columns}
    if name in NOT_COMPARED:
        assert found == {}
        return
    assert name in found and found[name].different >= 1
    assert np.isnan(found[name].largest) or found[name].largest > 0
    code, lines = run(path, "--against", other)
    assert code == 1 and any(line.startswith(f"{name}: ") for line in lines)


def test_tasks_and_candidates_that_only_one_has(path, tmp_path):
    records = [make_record(k, newest=True) for k in (20, 21, 22)]
    write_result(tmp_path / "a.h5", records)
    shorter = replace(records[0], candidates=records[0].candidates[:-1])
    samples = [
        replace(sample, candidate=min(sample.candidate, len(shorter.candidates) - 1)) for sample in records[0].samples
    ]
    kept = {k: tuple(s.index for s in samples if s.candidate == k) for k in range(len(shorter.candidates))}
    candidates = [replace(one, members=kept[one.rank]) for one in shorter.candidates]
    write_result(tmp_path / "b.h5", [replace(shorter, samples=samples, candidates=candidates), records[1]])
    found = compare(tmp_path / "a.h5", tmp_path / "b.h5")
    assert (found.only_first, found.only_second, found.tasks) == (1, 0, 2)
    different = {one.name: one.different for one in found.columns}
    assert different["candidates"] == 1 and "samples/candidate" in different and not found.equal


def test_small_differences_may_be_allowed(path, tmp_path):
    shutil.copy(path, tmp_path / "b.h5")
    with changing(tmp_path / "b.h5") as file:
        file["candidates/min_distance_A"][0] += 1e-7
    assert run(path, "--against", tmp_path / "b.h5")[0] == 1
    assert run(path, "--against", tmp_path / "b.h5", "--tolerance", "1e-6")[0] == 0
    assert run(path, path, "--against", path)[0] == 2
    assert run(path, "--tolerance", "1e-6")[0] == 2
