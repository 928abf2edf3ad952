"""Runs the other tests of this folder in Triton's interpreter; see conftest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_this_folder_in_the_interpreter():
    """In one process: to import torch, CHGNet and Triton takes longer than most files take to run."""
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", Path(__file__).parent, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
