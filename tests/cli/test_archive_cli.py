"""`inpaint-hpc collect`, `verify` and `export`, on a run directory as a campaign leaves it."""

import hashlib
import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, Sample
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.batch import Crystal

WEIGHTS = "ab" * 32


def record(number):
    """One Li in a cubic cell, two equal samples; the fourth task failed."""
    host = Crystal([25, 8], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]], (4.0 + number // 2) * np.eye(3), f"host-{number // 2}")
    task = hashlib.sha256(str(number).encode()).hexdigest()
    if number == 3:
        return TaskRecord(task, host, (3,), 2, status="failed", error="no luck", attempts=2)
    frac = np.full((2, 1, 3), 0.01 * number + 0.1)
    samples = [Sample(k, True, "", 1.5, 0, frac[k]) for k in range(2)]
    best = Candidate(
        rank=0,
        sample=0,
        members=(0, 1),
        agreement=1.0,
        spread=0.1,
        min_distance=1.5,
        guest_frac_coords=frac[0],
        energy_per_atom=-7.0 - 0.1 * number,
        max_force=0.1,
        max_guest_force=0.1,
        multiplicity=(4,),
        wyckoff=("4c",),
    )
    return TaskRecord(task, host, (3,), 2, samples=samples, candidates=[best])


@pytest.fixture
def run(tmp_path):
    """A run of 12 tasks in 3 shards, the last of them in two parts."""
    folder = tmp_path / "run"
    parts = [("000000", 0, 4), ("000001", 4, 8), ("000002.0-1", 8, 9), ("000002.1-4", 9, 12)]
    for name, start, stop in parts:
        path = folder / "results" / "000" / f"shard-{name}.h5"
        write_result(path, [record(k) for k in range(start, stop)], {"weights_sha256": WEIGHTS, "unit": name})
    (folder / "config.yaml").write_text("guests: {Li: 1}\n")
    info = {"schema": "1.0", "campaign": "c" * 64, "weights": {"name": "small", "sha256": WEIGHTS}}
    (folder / "campaign.json").write_text(json.dumps(info))
    ids = np.frombuffer(bytes.fromhex("".join(record(k).task_id for k in range(12))), dtype=np.uint8)
    with h5py.File(folder / "tasks.h5", "w") as file:
        file["id"] = ids.reshape(-1, 32)
    return folder


def invoke(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def refused(result, match):
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert match in result.stderr


def test_collect_verify_export(run, tmp_path):
    result = invoke("collect", run)
    assert result.exit_code == 0, result.stderr
    counts = "12 tasks (11 done, 1 failed), 22 samples, 11 candidates, 6 hosts from 4 files"
    assert result.stdout == f"{run / 'archive.h5'}: {counts}\n"
    assert result.stderr == ""
    with Archive(run / "archive.h5") as archive:
        assert archive.task_ids() == [record(k).task_id for k in range(12)]
        assert archive.attributes["campaign"] == "c" * 64
        assert archive.attributes["weights_name"] == "small"
        assert archive.attributes["config_yaml"] == "guests: {Li: 1}\n"
    assert invoke("collect", run).stdout == result.stdout
    result = invoke("verify", run)
    assert (result.exit_code, result.stdout) == (0, "5 files checked, none with problems\n")
    result = invoke("export", run / "archive.h5", "--format", "csv", "--out", tmp_path / "best.csv", "--guest", "Li")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'best.csv'}: 11 candidates of 11 tasks; 1 without any\n"
    result = invoke("export", run / "archive.h5", "--out", tmp_path / "cif", "--task", record(5).task_id[:8], "--all")
    assert result.stdout == f"{tmp_path / 'cif'}: 1 candidates of 1 tasks\n"
    assert len(list((tmp_path / "cif" / "host-2").iterdir())) == 1


def test_a_run_that_is_not_finished(run):
    (run / "results" / "000" / "shard-000001.h5").unlink()
    damaged = run / "results" / "000" / "shard-000002.1-4.h5"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    result = invoke("collect", run)
    assert result.exit_code == 1
    assert "5 tasks (4 done, 1 failed)" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == f"left out: {damaged}: damaged or truncated, its checksum does not hold"
    assert lines[1].startswith("missing: 7 of 12 tasks have no result, first ")
    before = (run / "archive.h5").read_bytes()
    refused(invoke("collect", run, "--strict"), "damaged or truncated")
    damaged.unlink()
    refused(invoke("collect", run, "--strict"), "not written, 7 of 12 tasks have no result yet")
    assert (run / "archive.h5").read_bytes() == before


def test_files_go_where_they_are_told(run, tmp_path):
    files = sorted((run / "results").rglob("*.h5"))
    refused(invoke("collect", *files), "Give the archive to write with --out")
    out = tmp_path / "some.h5"
    assert invoke("collect", *files[:2], "--out", out).exit_code == 0
    refused(invoke("collect", *files, "--out", out), "exists already; add --overwrite to replace it")
    assert invoke("collect", *files, "--out", out, "--overwrite").exit_code == 0
    assert invoke("collect", run, out, "--out", tmp_path / "again.h5").exit_code == 0
    with Archive(tmp_path / "again.h5") as archive:
        assert len(archive) == 12


def test_foreign_results(run):
    """Other weights stop it; tasks that are not of this run stay out."""
    stranger = run / "results" / "000" / "shard-000003.h5"
    write_result(stranger, [record(20)], {"weights_sha256": WEIGHTS})
    result = invoke("collect", run)
    assert result.exit_code == 0
    assert result.stderr == "left out: 1 tasks of other campaigns\n"
    assert "12 tasks" in result.stdout
    write_result(stranger, [record(20)], {"weights_sha256": "cd" * 32})
    refused(invoke("collect", run), f"{stranger}: made with other weights (cdcdcdcdcdcd) than the run (abababababab)")


def test_verify_says_what_is_wrong(run):
    file = run / "results" / "000" / "shard-000000.h5"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    result = invoke("verify", run)
    assert result.exit_code == 1
    problem, summary = result.stdout.splitlines()
    assert problem == f"{file}: damaged or truncated, its checksum does not hold"
    assert summary == "4 files checked, 1 with problems"
    result = invoke("verify", run / "nothing.h5")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, f"{run / 'nothing.h5'}: no such file")


def test_folders_that_are_no_runs(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for verb in ("collect", "verify"):
        refused(invoke(verb, empty), f"{empty}: not a run directory, campaign.json is missing")
    (empty / "campaign.json").write_text(json.dumps({"schema": "1.0"}))
    refused(invoke("verify", empty), "has no results yet")
    refused(invoke("collect", empty), f"{empty / 'tasks.h5'}: is missing; the run directory is damaged")
    (run / "tasks.h5").write_bytes((run / "tasks.h5").read_bytes()[:500])
    refused(invoke("collect", run), f"{run / 'tasks.h5'}: not readable")
    (run / "campaign.json").write_text("{")
    refused(invoke("collect", run), "campaign.json: damaged")


def test_before_the_first_unit_is_done(run):
    for file in (run / "results").rglob("*.h5"):
        file.unlink()
    refused(invoke("collect", run), "no result files to collect; has any unit of the run finished?")


def test_export_mistakes(run, tmp_path):
    invoke("collect", run)
    archive = run / "archive.h5"
    refused(invoke("export", archive, "--out", tmp_path / "x", "--guest", "Na"), "none of its 12 tasks fits Na")
    refused(invoke("export", archive, "--out", tmp_path, "--format", "csv"), "is a folder")
    refused(invoke("export", tmp_path / "gone.h5", "--out", tmp_path / "x"), "no such file")
    refused(invoke("export", archive), "Missing option '--out'")
