"""The benchmark of covered sites runs, counts what it says, and goes on where it stopped."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.pooling import PoolingSettings, pool_positions

ROOT = Path(__file__).parents[2]
PAIRS = ROOT / "tests" / "data" / "electrodes.h5"


def run(json_file, *options):
    command = [sys.executable, str(ROOT / "benchmarks" / "site_coverage.py"), str(PAIRS), "--rounds", "1"]
    command += ["--single", "4", "--joint", "2", "--all-pairs", "--json", str(json_file), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return json.loads(json_file.read_text())["rows"], result.stdout


def test_rows_say_what_is_covered(tmp_path):
    rows, text = run(tmp_path / "rows.json", "--limit", "1")
    assert "1 pairs" in text and "whole orbits" in text
    (row,) = rows
    (pair,) = (p for p in read_electrodes(PAIRS) if p.name == row["id"])
    settings = PoolingSettings(4, 2, 1, 1)
    network = pool_positions(load_network(), pair.host, pair.guest_z, pair.n_guest, settings).networks()[0]
    truth = pair.reference.frac_coords[-pair.n_guest :]
    near = PeriodicCell(pair.host.lattice).distances(truth, network.frac_coords).min(axis=1) <= 0.6
    assert row["covered"] == pytest.approx(near.mean()) and row["sites"] == len(network)
    assert row["samples"] == (4 if pair.n_guest == 1 else 6) and row["rounds"] == 1
    again, _ = run(tmp_path / "rows.json", "--limit", "2")
    assert len(again) == 2 and again[0] == row


def test_random_positions_are_a_baseline(tmp_path):
    rows, text = run(tmp_path / "random.json", "--limit", "2", "--random")
    assert "2 pairs" in text
    assert all(0.0 <= row["covered"] <= 1.0 and row["sites"] > 0 for row in rows)
    assert np.all([row["positions"] == 4 + 2 * row["guests"] for row in rows])
