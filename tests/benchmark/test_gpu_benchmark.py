"""The benchmark for GPUs runs on a CPU as well, in its smallest sizes."""

import json
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
DATA = ROOT / "tests" / "data"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs stages in this process, which has torch and chgnet already: the exit status and the report."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(DATA / "smoke.h5", data / "wbm_dev.h5")
    shutil.copy(DATA / "electrodes.h5", data / "electrodes_dev.h5")
    monkeypatch.syspath_prepend(SCRIPT.parent)

    def run(stages):
        out = tmp_path / "figures.json"
        words = ["--device", "cpu", "--tiny", "--json", out, "--data", data, "--train", DATA / "smoke.h5"]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words), "--stages", stages])
        with warnings.catch_warnings():  # it turns all of them off
            status = runpy.run_path(str(SCRIPT))["main"]()
        return status, json.loads(out.read_text())

    return run


def test_stages_say_what_they_found(run, capsys, tmp_path):
    status, report = run("doctor,same,sampling,chgnet,memory,campaign")
    found, said = report["stages"], capsys.readouterr().out
    assert status == 0 and not report["failed"], said
    assert all(f"== {name}" in said for name in found)
    assert found["doctor"]["copy_GB_per_s"] > 0 and found["doctor"]["float32_TFLOP_per_s"] > 0
    assert found["same"]["sampling"]["within_1e-3_A"] == 1 and all(found["same"]["checks"].values())
    assert {row["samples"] for row in found["sampling"]["rates"]} == {32}
    for row in found["sampling"]["memory_bound"]:
        assert row["best_samples_per_s"] > 0 and 0 < row["share_of_bound"] < 1
    assert found["chgnet"]["equality"]["equal"] == found["chgnet"]["equality"]["structures"] == 4
    assert found["chgnet"]["cell"]["ratio"] > 0 and found["chgnet"]["best_us_per_atom_step"] > 0
    assert found["memory"]["skipped"] == "no GPU"
    comparison = found["campaign"]["comparison"]
    assert comparison["identical"] == comparison["samples"] > 0
    assert found["campaign"]["inline"]["tasks"] >= 4
    busy = found["campaign"]["busy"]
    assert busy["alone"]["status"] == 0 and busy["alone"]["tasks"] == 6 and busy["alone"]["workers"] >= 1
    assert busy["alone"]["tasks_per_s"] > 0
    assert busy["alone"]["work_share"] > 0
    assert busy["mps"] == {"skipped": "no CUDA MPS here"} or busy["mps"]["tasks"] == 6
    # What it found is a card for `campaign_feed.py`.
    from feed_parts.card import Call, Card

    card = Card.read(tmp_path / "figures.json")
    assert card.name == "cpu"
    rate = max(row["samples_per_s"] for row in found["sampling"]["rates"] if "1 guest" in row["host"])
    assert card.cost(Call("sampling", 64, 64, 9)).work == pytest.approx(64 / rate)
    best = found["chgnet"]["best_us_per_atom_step"]
    assert card.cost(Call("forces", 10, 500)).work == pytest.approx(500e-6 * best)


def test_a_failed_stage_is_written_and_the_next_one_runs(run, tmp_path):
    (tmp_path / "data" / "wbm_dev.h5").write_text("no HDF5")
    status, report = run("same,doctor")
    assert status == 1 and report["failed"] == ["same: error"]
    assert "InputError" in report["stages"]["same"]["error"][-1]
    assert report["stages"]["doctor"]["torch"]


def test_an_unknown_stage_is_refused(tmp_path):
    command = [sys.executable, SCRIPT, "--stages", "doctor,coffee", "--json", tmp_path / "figures.json"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and not (tmp_path / "figures.json").exists() and "coffee" in result.stderr


def test_training_and_tests(run):
    status, report = run("training,tests")
    found = report["stages"]
    assert status == 0, found
    assert found["training"]["train-large"]["structures_per_s"] > 0
    assert "skipped" in found["tests"]["summary"]
