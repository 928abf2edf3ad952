"""The benchmarks of CHGNet run, and say what they are to say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from real_crystals import SMOKE

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
    options = ("--structures", 2, "--fewest", 4, "--most", 8, "--fmax", 0.1, "--minima", 3)
    found, text = figures("chgnet_relax.py", tmp_path, *options)
    for mode, title in (("guests", "frozen host"), ("cell", "full cell")):
        assert title in text
        assert found[mode]["same_minimum"] == 2 and found[mode]["diverged"] == []
        assert found[mode]["converged"] == {"chgnet": 2, "batched": 2}
        assert found[mode]["ratio"] > 1
    assert found["minima"]["same_minimum"] == 3 and "in the same minimum: 100 %" in text


@pytest.mark.slow
def test_reranking(tmp_path):
    options = (SMOKE, "--ions", "Li,Mg", "--quick", "--rows", tmp_path / "rows.jsonl")
    found, text = figures("reranking.py", tmp_path, *options)
    rows = found["rows"]["Li"] + found["rows"]["Mg"]
    assert len(rows) == 4 and all(row["samples"] == 4 for row in rows)
    for row in rows:
        assert row["any"] >= max(row["static"], row["agreement"], row["random"]) and row["random"] in (
            0,
            0.25,
            0.5,
            0.75,
            1,
        )
    assert found["table"]["all"]["any"][0] == np.mean([row["any"] for row in rows])
    again, same = figures("reranking.py", tmp_path, *options)  # nothing is done again
    assert again == found and same == text


@pytest.mark.slow
def test_voltages(tmp_path):
    options = (SMOKE.with_name("electrodes.h5"), "--quick", "--rows", tmp_path / "rows.jsonl")
    found, text = figures("voltages.py", tmp_path, *options)
    first, second = found["rows"]
    for row in found["rows"]:
        assert row["atoms"] <= 12 and row["true"] == pytest.approx(row["reported"], abs=2.5)
    errors = [abs(row["true"] - row["reported"]) for row in (first, second)]
    assert found["groups"]["all"]["true"]["mae"] == pytest.approx(np.mean(errors))
    again, same = figures("voltages.py", tmp_path, *options)
    assert again == found and same == text
