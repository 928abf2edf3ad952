"""The two CHGNet benchmarks run, and say what they are to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def figures(script, tmp_path, *options):
    out = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / script), "--json", str(out), *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return json.loads(out.read_text()), result.stdout


@pytest.mark.slow
def test_throughput(tmp_path):
    options = ("--candidates", 4, "--fewest", 4, "--most", 12, "--memory-batch", 4)
    found, text = figures("chgnet_throughput.py", tmp_path, *options)
    assert found["candidates"] == 4 and 4 <= found["mean_atoms"] <= 12
    assert found["ratio"] > 1 and "times faster" in text
    assert found["largest_difference"]["force_eV_per_A"] < 1e-3
    assert found["memory"]["native"]["peak_GiB"] > found["memory"]["together"]["peak_GiB"] > 0.1
    assert set(found["memory_ratio"]) == {"packed", "together"}


@pytest.mark.slow
def test_relaxation(tmp_path):
    options = ("--structures", 2, "--fewest", 4, "--most", 8, "--fmax", 0.1)
    found, text = figures("chgnet_relax.py", tmp_path, *options)
    for mode, title in (("guests", "frozen host"), ("cell", "full cell")):
        assert title in text
        assert found[mode]["same_minimum"] == 2 and found[mode]["diverged"] == []
        assert found[mode]["converged"] == {"chgnet": 2, "batched": 2}
        assert found[mode]["ratio"] > 1
