"""The benchmark for GPUs runs on a CPU as well, in its smallest sizes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


@pytest.fixture
def run(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(DATA / "smoke.h5", data / "wbm_dev.h5")
    shutil.copy(DATA / "electrodes.h5", data / "electrodes_dev.h5")

    def run(stages, *options):
        out = tmp_path / "figures.json"
        command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--tiny", "--json", str(out)]
        command += ["--data", str(data), "--train", str(DATA / "smoke.h5"), "--stages", stages, *options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return result, json.loads(out.read_text()) if out.exists() else None

    return run


def test_stages_say_what_they_found(run):
    result, report = run("doctor,same,sampling,chgnet,memory")
    assert result.returncode == 0, result.stdout + result.stderr
    found = report["stages"]
    assert not report["failed"] and all(f"== {name}" in result.stdout for name in found)
    assert found["doctor"]["copy_GB_per_s"] > 0 and found["doctor"]["float32_TFLOP_per_s"] > 0
    assert found["same"]["sampling"]["within_1e-3_A"] == 1 and all(found["same"]["checks"].values())
    assert {row["samples"] for row in found["sampling"]["rates"]} == {32}
    for row in found["sampling"]["memory_bound"]:
        assert row["best_samples_per_s"] > 0 and 0 < row["share_of_bound"] < 1
    assert found["chgnet"]["equality"]["equal"] == found["chgnet"]["equality"]["structures"] == 4
    assert found["chgnet"]["cell"]["ratio"] > 0 and found["chgnet"]["best_us_per_atom_step"] > 0
    assert found["memory"]["skipped"] == "no GPU"


def test_a_failed_stage_is_written_and_the_next_one_runs(run, tmp_path):
    (tmp_path / "data" / "wbm_dev.h5").write_text("no HDF5")
    result, report = run("same,doctor")
    assert result.returncode == 1 and report["failed"] == ["same: error"]
    assert "InputError" in report["stages"]["same"]["error"][-1]
    assert report["stages"]["doctor"]["torch"]


def test_an_unknown_stage_is_refused(run):
    result, report = run("doctor,coffee")
    assert result.returncode == 2 and report is None and "coffee" in result.stderr


def test_training_campaign_and_tests(run):
    result, report = run("training,campaign,tests")
    assert result.returncode == 0, result.stdout + result.stderr
    found = report["stages"]
    assert found["training"]["train-large"]["structures_per_s"] > 0
    comparison = found["campaign"]["comparison"]
    assert comparison["identical"] == comparison["samples"] > 0
    assert found["campaign"]["inline"]["tasks"] >= 4
    assert "skipped" in found["tests"]["summary"]
