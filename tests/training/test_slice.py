"""A slice of training through a pipe or in parts, as it goes to another machine; here the other machine is a shell."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inpaint_hpc.network.weights import load_network
from inpaint_hpc.training.config import load_config
from inpaint_hpc.training.loop import Trainer

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
# An interpreter that passes the signal at the end of a slice on once three steps more have been made, however long that
# takes.  Its session keeps the signal from the training itself, which may not even have begun.
PATIENT = """#!/usr/bin/env bash
trap 'ended=1' USR1
rows() {{ wc -l 2>/dev/null <run/train.csv || echo 1; }}
enough=$(($(rows) + 3))
setsid {python} "$@" & training=$!
while kill -0 $training && {{ [ -z "$ended" ] || [ "$(rows)" -lt $enough ]; }}; do sleep 0.1; done
kill -USR1 $training
wait $training
"""
# Long over when the first step is made.
SLICE = ("--minutes", "0.02")


@pytest.fixture
def patient(tmp_path):
    path = tmp_path / "patient python"
    path.write_text(PATIENT.format(python=sys.executable))
    path.chmod(0o755)
    return path


def run_slice(*arguments, python=sys.executable):
    command = [str(ROOT / "slurm" / "train-slice"), *map(str, arguments), "--python", str(python)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def run_there(pack, results):
    """What a machine does with the parts: a clean environment, and nothing but them."""
    command = ["bash", str(pack / "run.sh"), str(results)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(pack)}
    return subprocess.run(command, cwd=pack, env=environment, capture_output=True, text=True, timeout=600)


def said(done):
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_second_slice_goes_on_where_the_first_one_stopped(patient, tmp_path):
    config, out = tmp_path / "a config.yaml", tmp_path / "a run"
    config.write_text(CONFIG.format(root=ROOT, out=out))
    steps = []
    for _ in range(2):
        done = run_slice(config, *SLICE, python=patient)
        assert done.returncode == 0, done.stderr
        steps.append(torch.load(out / "checkpoint.pt", weights_only=True)["step"])
    assert 3 <= steps[0] <= steps[1] - 3
    with open(out / "train.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, steps[1] + 1))
    assert not list(out.glob(".slice-*"))
    before = (out / "checkpoint.pt").read_bytes()
    failed = run_slice(config, *SLICE, "--remote", "false")
    assert failed.returncode != 0 and (out / "checkpoint.pt").read_bytes() == before


def harmed(folder, name, copy):
    """Copies of parts of which something is missing or wrong, and what is said about them."""
    first, digests = copy / f"{name}.00", copy / f"{name}.sha256"
    for harm, message in [
        (first.unlink, f"{name}.00 missing or damaged; copy again"),
        (lambda: first.write_bytes(b"x" + first.read_bytes()[1:]), f"{name}.00 missing or damaged; copy again"),
        (digests.unlink, f"no {name}.sha256, so not all is there"),
        (lambda: digests.write_text(digests.read_text()[:-20]), f"{name}.sha256 missing or damaged; copy again"),
    ]:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        harm()
        yield message


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_slices_in_parts_equal_a_run_without_a_break(patient, tmp_path):
    config, out = tmp_path / "a config.yaml", tmp_path / "a run"
    config.write_text(CONFIG.format(root=ROOT, out=out).replace("scalars: 16", "scalars: 80"))
    for number in range(2):
        here, there, back = (tmp_path / f"{name} {number}" for name in ("pack", "there", "back"))
        done = run_slice(config, "--pack", here, "--part-mb", "1", *SLICE, python=patient)
        assert done.returncode == 0, done.stderr
        shutil.copytree(here, there)
        done = run_there(there, there / "results")
        assert done.returncode == 0, done.stderr
        shutil.copytree(there / "results", back)
        assert all(part.stat().st_size <= 1e6 for folder in (here, back) for part in folder.iterdir())
        assert (back / "result.01").exists()
        if number:
            for message in harmed(here, "slice", tmp_path / "harmed"):
                assert message in said(run_there(tmp_path / "harmed", tmp_path / "nothing"))
            before = content(out)
            for message in harmed(back, "result", tmp_path / "harmed"):
                assert message in said(run_slice(config, "--unpack", tmp_path / "harmed"))
            assert content(out) == before and not (tmp_path / "nothing").exists()
        done = run_slice(config, "--unpack", back)
        assert done.returncode == 0, done.stderr
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    with open(out / "train.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, state["step"] + 1))
    once = Trainer(load_config(config, {"out": tmp_path / "once"}), device="cpu")
    while once.step < state["step"]:
        once.train_step()
    once.save()
    expected = torch.load(tmp_path / "once" / "checkpoint.pt", weights_only=True)
    for part in ("network", "optimizer", "average"):
        torch.testing.assert_close(state[part], expected[part], rtol=0, atol=0)
    weights = load_network(out / "model.safetensors")
    torch.testing.assert_close(dict(weights.state_dict()), dict(state["average"]), rtol=0, atol=0)
    # The same results a second time: they do not go on from what is there now.
    assert "not from" in said(run_slice(config, "--unpack", back))


def test_mistakes_are_one_line(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("data: data.h5\nout: run\nsteps: 5\nepochs: 3\n")
    for arguments, message in [
        ((config,), "epochs"),
        (("nothing.yaml",), "nothing.yaml: no such file"),
        ((ROOT / "configs" / "train-small.yaml", "--hours", "2"), "unknown option --hours"),
        ((ROOT / "configs" / "train-small.yaml", "--minutes", "nine"), "--minutes nine is not a number"),
        ((ROOT / "configs" / "train-small.yaml", "--pack", "a", "--part-mb", "1.5"), "--part-mb 1.5 is not a whole"),
        ((ROOT / "configs" / "train-small.yaml", "--pack", "a", "--unpack", "b"), "not both"),
        ((ROOT / "configs" / "train-small.yaml", "--unpack", "nothing"), "nothing: no result.sha256"),
    ]:
        done = run_slice(*arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and message in done.stderr
