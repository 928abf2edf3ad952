"""Merging: every task once, nothing lost, nothing mixed, in memory that does not grow with the number of files."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_up_results import WEIGHTS, changing, make_record, same, task_id, with_columns, write_units

from inpaint_hpc.archive.collect import collect, task_ids
from inpaint_hpc.archive.columns import from_records
from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.ragged_arrays import texts
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.storage import USER_BLOCK, create_dataset, seal, sign
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.errors import InputError

ROOT = Path(__file__).parents[2]
IDS = [task_id(k) for k in range(60)]


def records_of(path):
    with Archive(path) as archive:
        return list(archive.iter_records())


def test_archive_holds_what_the_units_hold(tmp_path):
    paths = write_units(tmp_path, 60, 13)
    calls = []
    out = tmp_path / "deep" / "archive.h5"
    report = collect(paths, out, {"note": "mine"}, IDS, progress=lambda *call: calls.append(call))
    assert verify(out) == []
    found = records_of(out)
    assert all(same(found[k], make_record(k)) for k in range(60))
    failed = sum(record.failed for record in found)
    assert (report.tasks, report.done, report.failed, report.hosts) == (60, 60 - failed, failed, 20)
    assert report.samples == sum(len(record.samples) for record in found)
    assert report.candidates == sum(len(record.candidates) for record in found)
    assert (report.files, report.duplicates, report.missing, report.unexpected) == (5, 0, 0, 0)
    assert report.complete
    assert calls == [(stage, k, 5) for stage in ("check", "merge") for k in range(1, 6)]
    with Archive(out) as archive:
        assert archive.attributes["complete"] is True
        assert archive.attributes["n_expected"] == 60
        assert archive.attributes["note"] == "mine"
        assert archive.attributes["configuration"] == {"steps": 40}
        assert "unit" not in archive.attributes
        assert archive.attributes["weights_sha256"] == WEIGHTS["weights_sha256"]
    assert list(out.parent.iterdir()) == [out]


def test_an_archive_can_be_collected_again(tmp_path):
    """One schema: archives are result files, also when they are the file that is replaced."""
    first = write_units(tmp_path / "a", 20, 7)
    second = write_units(tmp_path / "b", 20, 7, first=20)
    out = tmp_path / "archive.h5"
    collect(first, out)
    report = collect([out, *second], out)
    assert (report.tasks, report.hosts) == (40, 14)
    assert verify(out) == []
    assert all(same(record, make_record(k)) for k, record in enumerate(records_of(out)))


def test_size_of_units_does_not_matter(tmp_path):
    for size in (2, 7, 24):
        collect(write_units(tmp_path / str(size), 24, size), tmp_path / f"{size}.h5")
    for size in (2, 7):
        comparison = compare(tmp_path / f"{size}.h5", tmp_path / "24.h5")
        assert comparison.equal
        assert (comparison.tasks, comparison.samples) == (24, sum(len(make_record(k).samples) for k in range(24)))


def test_each_task_once(tmp_path):
    """Overlapping units, a task that failed in one and succeeded in the other, whichever comes first."""
    good = [make_record(k) for k in range(10)]
    fail = {"status": "failed", "error": "died", "attempts": 3, "samples": None, "candidates": None}
    write_result(tmp_path / "a.h5", [*(replace(r, **fail) for r in good[:2]), *good[4:6]], WEIGHTS)
    write_result(tmp_path / "b.h5", good[:6], WEIGHTS)
    write_result(tmp_path / "c.h5", [replace(r, **fail) for r in good[5:10]], WEIGHTS)
    report = collect([tmp_path / name for name in ("a.h5", "b.h5", "c.h5")], tmp_path / "out.h5", None, IDS[:12])
    found = {record.task_id: record for record in records_of(tmp_path / "out.h5")}
    assert len(found) == report.tasks == 10
    assert report.duplicates == 5
    assert all(same(found[task_id(k)], good[k]) for k in range(6))
    assert all(found[task_id(k)].error == "died" for k in range(6, 10))
    assert (report.expected, report.missing, report.missing_ids) == (12, 2, tuple(sorted(IDS[10:12])))
    assert not report.complete
    assert verify(tmp_path / "out.h5") == []
    with Archive(tmp_path / "out.h5") as archive:
        assert archive.attributes["complete"] is False


def test_columns_that_some_units_lack(tmp_path):
    """Stages and relaxation that only some units know are empty for the others; longer texts widen the column."""
    rng = np.random.default_rng(3)
    plain = make_record(0, seconds={"sample": 1.0}, worker="w", reference_frac_coords=None)
    other = make_record(1, seconds={"relax": 2.0}, worker="a much longer name", notes=("ü" * 40,))
    relaxed = with_columns(
        other.candidates,
        relaxed_energy_per_atom=rng.normal(size=len(other.candidates)),
        relaxed_guest_frac_coords=rng.random(other.candidates["guest_frac_coords"].shape),
        relaxed_host_frac_coords=rng.random((len(other.candidates), len(other.host), 3)),
        relaxed_max_guest_force=rng.random(len(other.candidates)),
        relaxation=("converged", "unfinished", "converged")[: len(other.candidates)],
        relaxed_steps=np.array([12, 500, 3])[: len(other.candidates)],
        placements=np.array([2, 1, 1])[: len(other.candidates)],
    )
    records = [plain, replace(other, candidates=relaxed, reference_frac_coords=rng.random((len(other.guests), 3)))]
    records.append(make_record(2, reference_frac_coords=None))
    for k, record in enumerate(records):
        write_result(tmp_path / f"{k}.h5", [record])
    collect([tmp_path / f"{k}.h5" for k in range(3)], tmp_path / "out.h5")
    assert verify(tmp_path / "out.h5") == []
    assert all(same(old, new) for old, new in zip(records, records_of(tmp_path / "out.h5"), strict=True))


def test_results_of_other_tasks_are_left_out(tmp_path):
    report = collect(write_units(tmp_path, 20, 7), tmp_path / "out.h5", None, IDS[3:9])
    assert (report.tasks, report.unexpected, report.missing) == (6, 14, 0)
    assert [record.task_id for record in records_of(tmp_path / "out.h5")] == IDS[3:9]
    assert report.hosts == 2
    assert verify(tmp_path / "out.h5") == []


def test_weights_are_not_mixed(tmp_path):
    paths = write_units(tmp_path, 10, 5)
    foreign = tmp_path / "shard-000007.h5"
    write_result(foreign, [make_record(30)], {"weights_sha256": "f" * 64})
    write_result(tmp_path / "none.h5", [make_record(31)])
    out = tmp_path / "out.h5"
    collect(paths, out)
    before = out.read_bytes()
    for files, attributes, bad, match in (
        ([*paths, foreign], {}, foreign, r"other weights \(ffffffffffff\) than .*shard-000000.h5 \(0123456789ab\)"),
        ([foreign], WEIGHTS, foreign, r"other weights \(ffffffffffff\) than the run \(0123456789ab\)"),
        ([*paths, tmp_path / "none.h5"], {}, tmp_path / "none.h5", r"other weights \(none\) than"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            collect(files, out, attributes)
        assert str(caught.value).startswith(f"{bad}: ")
        assert "\n" not in str(caught.value)
    assert out.read_bytes() == before


def test_schemas_are_not_mixed(tmp_path):
    paths = write_units(tmp_path, 10, 5)
    for version, match in (("2.0", "newer"), ("1.999", "newer"), ("0.9", "too old")):
        with changing(paths[1]) as file:
            file.attrs["schema_version"] = version
        with pytest.raises(InputError, match=f"{paths[1].name}.*{match}"):
            collect(paths, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_files_of_schema_1_0_are_collected_with_newer_ones(tmp_path):
    """What 1.1 added is optional, so a file without it is a file of 1.0."""
    old, new = make_record(0), make_record(1)
    relaxed = with_columns(
        new.candidates,
        relaxed_energy_per_atom=new.candidates["energy_per_atom"] - 0.1,
        relaxation=("converged",) * len(new.candidates),
        relaxed_steps=np.arange(1, 1 + len(new.candidates)),
    )
    new = replace(new, candidates=relaxed)
    paths = [tmp_path / "old.h5", tmp_path / "new.h5"]
    for path, record in zip(paths, (old, new), strict=True):
        write_result(path, [record], WEIGHTS)
    with changing(paths[0]) as file:
        file.attrs["schema_version"] = "1.0"
        assert not {"relaxation", "relaxed_steps", "placements"} & set(file["candidates"])
    collect(paths, tmp_path / "out.h5")
    assert verify(tmp_path / "out.h5") == []
    assert all(same(a, b) for a, b in zip((old, new), records_of(tmp_path / "out.h5"), strict=True))
    with Archive(tmp_path / "out.h5") as archive:
        assert archive.attributes["schema_version"] == "1.2"  # nothing in it is newer
        table = archive.candidates()
        assert set(table.query("task == 0")["relaxation"]) <= {""}
        assert table.query("task == 1")["relaxed_steps"].tolist() == [one.relaxed.steps for one in relaxed]
        energies = archive.tasks()["relaxed_energy_per_atom_eV"]
        assert np.isnan(energies[0]) and energies[1] == min(one.relaxed.energy_per_atom for one in relaxed)


def test_damaged_units_are_left_out_and_named(tmp_path):
    paths = write_units(tmp_path, 30, 6)
    cut = paths[1].read_bytes()
    paths[1].write_bytes(cut[: len(cut) // 2])
    flipped = bytearray(paths[3].read_bytes())
    flipped[len(flipped) // 2] ^= 4
    paths[3].write_bytes(flipped)
    paths[4].write_bytes(b"")
    out = tmp_path / "out.h5"
    report = collect(paths, out, None, IDS[:30])
    assert [line.split(": ")[0] for line in report.damaged] == [str(paths[k]) for k in (1, 3, 4)]
    assert "truncated" in report.damaged[0]
    assert "its checksum does not hold" in report.damaged[1]
    assert "the file is empty" in report.damaged[2]
    assert (report.tasks, report.missing, report.complete) == (12, 18, False)
    assert verify(out) == []
    before = out.read_bytes()
    with pytest.raises(InputError, match="truncated"):
        collect(paths, out, None, IDS[:30], strict=True)
    with pytest.raises(InputError, match="not written, 18 of 30 tasks have no result yet"):
        collect([paths[0], paths[2]], out, None, IDS[:30], strict=True)
    with pytest.raises(InputError, match=r"nothing to collect, .*truncated"):
        collect([paths[1]], out)
    with pytest.raises(InputError, match="the files hold no expected task"):
        collect([paths[0]], out, None, [task_id(999)])
    with pytest.raises(InputError, match="no result files to collect"):
        collect([], out)
    with pytest.raises(InputError, match="no such file"):
        collect([tmp_path / "gone.h5"], out)
    assert out.read_bytes() == before


def test_ids_in_any_form():
    raw = np.frombuffer(bytes.fromhex("".join(IDS[:3])), dtype=np.uint8).reshape(3, 32)
    expected = np.array(IDS[:3], dtype="S64")
    for form in (IDS[:3], expected, raw, raw.copy().view("V32"), raw.copy().view("V32").reshape(-1)):
        assert np.array_equal(task_ids(form), expected)
    assert len(task_ids([])) == 0
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        task_ids(["abc"])


def with_coords(samples, row, coords):
    return [replace(s, guest_frac_coords=coords) if k == row else s for k, s in enumerate(samples)]


def test_comparison_sees_what_differs(tmp_path):
    records = [make_record(k) for k in range(8)]
    write_result(tmp_path / "a.h5", records)
    first = records[0]
    row = int(np.flatnonzero(first.samples["valid"])[0])
    moved = first.samples[row].guest_frac_coords
    # Across the cell boundary and by much less than the tolerance: near, but not identical.
    moved = (moved + 1e-6 / np.linalg.norm(first.host.lattice, axis=1)) % 1.0
    shown = first.candidates["guest_frac_coords"]
    other = replace(first, samples=with_coords(first.samples, row, moved))
    fail = {"status": "failed", "error": "died", "attempts": 1, "samples": None, "candidates": None}
    changed = [other, *records[1:5], replace(records[5], **fail), records[7]]
    write_result(tmp_path / "b.h5", changed)
    found = compare(tmp_path / "a.h5", tmp_path / "b.h5")
    assert (found.tasks, found.only_first, found.only_second, found.different_status) == (7, 1, 0, 1)
    assert found.unpaired == len(records[5].samples)
    assert found.identical == found.samples - found.unpaired - 1
    assert found.within_tolerance == found.identical + 1
    assert 0.0 < found.largest_distance < 1e-5
    assert not found.same_tasks
    assert not found.equal
    assert np.array_equal(shown, other.candidates["guest_frac_coords"])
    far = with_coords(first.samples, row, (first.samples[row].guest_frac_coords + 0.1) % 1.0)
    write_result(tmp_path / "c.h5", [replace(first, samples=far)])
    found = compare(tmp_path / "c.h5", tmp_path / "a.h5")
    assert (found.samples - found.within_tolerance, found.only_second) == (1, 7)
    assert found.largest_distance > 0.3


_MEMORY = """
import json, sys
from pathlib import Path
from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.read import Archive

def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

paths = sorted(Path(sys.argv[1]).glob("shard-*.h5"))
out = Path(sys.argv[1]) / "archive.h5"
collect(paths[:2], out)
with Archive(out, verify=False) as archive:
    samples = sum(len(record.samples) for record in archive.iter_records())
before = peak()
report = collect(paths, out)
collected = peak()
with Archive(out, verify=False) as archive:
    samples = sum(len(record.samples) for record in archive.iter_records())
print(json.dumps({"tasks": report.tasks, "samples": [samples, report.samples], "collect": collected - before,
                  "iterate": peak() - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_ten_thousand_tasks_stream(tmp_path):
    """Peak memory of collecting and iterating 50 units is that of 2, but for 100 bytes or so per task."""
    block = from_records([make_record(k, n_samples=60) for k in range(200)])
    rows = {table: len(columns[next(iter(columns))]) for table, columns in block.items()}
    in_memory = 50 * sum(values.nbytes for columns in block.values() for values in columns.values()) / 2**20
    for unit in range(50):
        # The same results under other ids are as good, and made in less time.
        block["tasks"]["id"] = texts([task_id(200 * unit + k) for k in range(200)])
        path = tmp_path / f"shard-{unit:06d}.h5"
        with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
            for table, columns in block.items():
                for name, values in columns.items():
                    create_dataset(file, table, name, values)
            seal(file, WEIGHTS)
        with path.open("r+b") as file:
            sign(file)
    result = subprocess.run([sys.executable, "-c", _MEMORY, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["tasks"] == 10_000
    assert figures["samples"] == [50 * rows["samples"]] * 2
    assert in_memory > 50
    assert figures["collect"] < 25, figures
    assert figures["iterate"] < 25, figures
