"""A slice of training through a pipe, as it goes to another machine; here the other machine is a shell."""

import csv
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
data: {root}/tests/data/smoke.h5
pairs: {root}/tests/data/electrodes.h5
out: {out}
steps: 100000
threads: 1
log_every: 1
validation_crystals: 8
network: {{scalars: 16, channels: 8, tensor_channels: 4, hidden: 16, host_layers: 1, guest_layers: 2}}
batch: {{batch_size: 4, draws: 2, pair_fraction: 0.2}}
"""


def run_slice(*arguments):
    command = [str(ROOT / "slurm" / "train-slice"), *map(str, arguments), "--python", sys.executable]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_second_slice_goes_on_where_the_first_one_stopped(tmp_path):
    config, out = tmp_path / "a config.yaml", tmp_path / "a run"
    config.write_text(CONFIG.format(root=ROOT, out=out))
    steps = []
    for _ in range(2):
        done = run_slice(config, "--minutes", "0.15")
        assert done.returncode == 0, done.stderr
        steps.append(torch.load(out / "checkpoint.pt", weights_only=True)["step"])
    assert 0 < steps[0] < steps[1]
    with open(out / "train.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, steps[1] + 1))
    assert not list(out.glob(".slice-*"))
    before = (out / "checkpoint.pt").read_bytes()
    failed = run_slice(config, "--minutes", "0.15", "--remote", "false")
    assert failed.returncode != 0 and (out / "checkpoint.pt").read_bytes() == before


def test_mistakes_are_one_line(tmp_path):
    for arguments, message in [
        (("nothing.yaml",), "nothing.yaml: no such file"),
        ((ROOT / "configs" / "train-small.yaml", "--hours", "2"), "unknown option --hours"),
        ((ROOT / "configs" / "train-small.yaml", "--minutes", "nine"), "--minutes nine is not a number"),
    ]:
        done = run_slice(*arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and message in done.stderr
