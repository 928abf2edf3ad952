"""The kill benchmark in short: one kill each of an actor, the raylet, the driver and a collector."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_campaign.py"


def test_no_kill_hurts_the_archive(tmp_path):
    report = tmp_path / "kills.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "4", "--samples", "8", "--json", report],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())
    assert figures["problems"] == []
    assert figures["kills"] >= 4 and set(figures["kills_by_victim"]) == {"actor", "raylet", "driver", "collector"}
    assert figures["tasks_per_campaign"] >= 200
    assert figures["samples_within_1e-3_A"] == figures["samples"] > 0
