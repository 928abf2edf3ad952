"""Which GPUs are counted, in environments that sites give; there need be none here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from inpaint_hpc import gpus
from inpaint_hpc.gpus import Gpus, gpus_here, show_worker_its_gpu

CARDS = ",".join(f"GPU-7d5d2d18-e527-75f1-571c-34959{k}a57073" for k in range(4))
SLICES = ",".join(f"MIG-8210e6aa-6e55-5fcc-b76a-18069cb4752{k}" for k in range(4))
VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_GPUS_ON_NODE", *gpus._LISTS)


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def found(monkeypatch):
    """What is found in an environment where torch sees some number of GPUs."""

    def find(environment: dict[str, str], seen: int, cards: int = 0) -> Gpus:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
        monkeypatch.setattr(gpus, "_cards", lambda: cards)
        return gpus_here()

    return find


@pytest.mark.parametrize(
    ("environment", "seen", "names"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 4, "0,1,2,3"),
        ({"CUDA_VISIBLE_DEVICES": "5,7"}, 2, "5,7"),
        ({"CUDA_VISIBLE_DEVICES": CARDS}, 4, CARDS),
        ({}, 4, "0,1,2,3"),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4, "0,1,2,3"),
        ({"SLURM_GPUS_ON_NODE": "gpu:a100:4"}, 4, "0,1,2,3"),
        ({"SLURM_JOB_GPUS": "0-3"}, 4, "0,1,2,3"),
        # Numbers of the node's cards, of which a control group shows only this job's.
        ({"SLURM_JOB_GPUS": "4,5"}, 2, "0,1"),
        # No control group: torch sees also those of other jobs.
        ({"SLURM_JOB_GPUS": "2,3"}, 4, "2,3"),
        ({"SLURM_STEP_GPUS": "1", "SLURM_JOB_GPUS": "1,2"}, 4, "1"),
        ({"GPU_DEVICE_ORDINAL": "0,1"}, 2, "0,1"),
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, 2, "0,1"),
        ({"HIP_VISIBLE_DEVICES": "0,1"}, 2, "0,1"),
        # CUDA shows a process one slice.
        ({"CUDA_VISIBLE_DEVICES": SLICES}, 1, SLICES),
    ],
)
def test_all_that_the_job_and_torch_can_use(found, environment, seen, names):
    here = found(environment, seen)
    assert ",".join(here.names) == names and here.notes == ()
    assert here.environment["CUDA_VISIBLE_DEVICES"] == names


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
@pytest.mark.parametrize("name", VARIABLES[:1] + VARIABLES[2:])
def test_no_gpu_is_no_gpu(found, name, value):
    """Whatever torch sees; said only where there are cards."""
    here = found({name: value}, 2)
    assert (here.names, here.promised, here.notes, here.environment) == ((), 0, (), {})
    (note,) = found({}, 2, cards=2).notes
    assert note == f"2 of 2 GPUs are unused: {name}={value} gives this job none"


@pytest.mark.parametrize(
    ("environment", "seen", "names", "said"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, 0, "", "names a GPU twice"),
        ({"CUDA_VISIBLE_DEVICES": f"{SLICES},{SLICES}"}, 0, "", "names a GPU twice"),
        ({"CUDA_VISIBLE_DEVICES": "0,x,1"}, 1, "0", "'x' names no GPU"),
        ({"CUDA_VISIBLE_DEVICES": "all"}, 0, "", "'all' names no GPU"),
        ({"SLURM_GPUS_ON_NODE": "many"}, 2, "0,1", "many is no number"),
        ({"SLURM_GPUS_ON_NODE": "2"}, 4, "", "nothing says which of them are this job's"),
        ({"SLURM_JOB_GPUS": "6,7"}, 4, "", "nothing says which of them are this job's"),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 3, "0,1,2", "1 of 4 GPUs are unused"),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_ON_NODE": "4"}, 2, "0,1", "0,1 names no more"),
        ({"SLURM_GPUS_ON_NODE": "4"}, 3, "0,1,2", "1 of 4 GPUs are unused"),
        ({"CUDA_VISIBLE_DEVICES": SLICES, "SLURM_GPUS_ON_NODE": "8"}, 1, SLICES, "4 of 8 GPUs are unused"),
        ({"CUDA_VISIBLE_DEVICES": SLICES}, 0, "", "4 of 4 GPUs are unused: torch"),
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, 0, "", "2 of 2 GPUs are unused: torch"),
    ],
)
def test_what_is_unused_or_strange_is_said(found, environment, seen, names, said):
    here = found(environment, seen)
    assert ",".join(here.names) == names and any(said in note for note in here.notes), here.notes


def test_cards_that_torch_does_not_see_are_named(found):
    (note,) = found({}, 0, cards=2).notes
    assert note.startswith(f"2 of 2 GPUs are unused: torch {torch.__version__}")


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, "0,1"),
        # SLURM may set all of them, and a card would be chosen twice.
        ({"ROCR_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "2,3", "GPU_DEVICE_ORDINAL": "2,3"}, "0,1"),
        ({"HIP_VISIBLE_DEVICES": "2,3"}, "2,3"),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, "2,3"),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6", "HIP_VISIBLE_DEVICES": "1,2"}, "1,2"),
        ({"SLURM_JOB_GPUS": "4,5"}, "0,1"),
        ({}, "0,1"),
    ],
)
def test_amd(found, monkeypatch, environment, names):
    monkeypatch.setattr(torch.version, "hip", "7.0")
    here = found(environment, 2)
    assert ",".join(here.names) == names and here.variable == "HIP_VISIBLE_DEVICES"
    assert here.notes == () or len(environment) == 2
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    show_worker_its_gpu([here.names[1]])
    assert os.environ["HIP_VISIBLE_DEVICES"] == here.names[1] and "CUDA_VISIBLE_DEVICES" not in os.environ
    assert os.environ.get("ROCR_VISIBLE_DEVICES") == environment.get("ROCR_VISIBLE_DEVICES")


# A torch for CUDA on a node with two cards, as a process of its own sees it: the first works, the second does what it
# is told.  `import torch` in this process is the real one.
TORCH = """
import os
class cuda:
    def device_count():
        if os.environ["FAKE"] == "old driver": raise RuntimeError("The NVIDIA driver on your system is too old")
        if os.environ["FAKE"] == "crash": os._exit(3)
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
        return 1 if shown[0].startswith("MIG") else len(shown)
class ones:
    def __init__(self, n, device): self.device = device
    def item(self):
        if os.environ["FAKE"] == "broken card" and self.device == "cuda:0":
            raise RuntimeError("CUDA error: uncorrectable ECC error\\nencountered")
"""


@pytest.fixture
def cuda_build(found, monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    gpus._tried.cache_clear(), gpus._slices.cache_clear()

    def find(kind: str, environment: dict[str, str] | None = None) -> Gpus:
        monkeypatch.setenv("FAKE", kind)
        return found(environment or {}, 99, cards=2)

    yield find
    gpus._tried.cache_clear(), gpus._slices.cache_clear()


@pytest.mark.parametrize(
    ("kind", "environment", "names", "said"),
    [
        ("good", {}, "0,1", ""),
        ("good", {"CUDA_VISIBLE_DEVICES": CARDS}, CARDS, ""),
        ("good", {"CUDA_VISIBLE_DEVICES": SLICES}, SLICES, ""),
        ("broken card", {}, "1", "1 of 2 GPUs are unused: cuda:0: CUDA error: uncorrectable ECC error encountered"),
        ("broken card", {"CUDA_VISIBLE_DEVICES": "4,6"}, "6", "uncorrectable ECC"),
        ("old driver", {}, "", "2 of 2 GPUs are unused: The NVIDIA driver on your system is too old"),
        ("crash", {"SLURM_GPUS_ON_NODE": "2"}, "", "ended without an answer"),
    ],
)
def test_cards_are_tried_in_another_process(cuda_build, kind, environment, names, said):
    here = cuda_build(kind, environment)
    assert ",".join(here.names) == names and said in "".join(here.notes)
    assert bool(here.notes) == bool(said) and not torch.cuda.is_initialized()


def test_slices_that_nothing_names(cuda_build, tmp_path):
    """`nvidia-smi -L` of a card in two slices and a whole one."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: GPU-5d5b)'\necho '  MIG 3g.20gb Device  0: (UUID: MIG-91d2)'\n"
        "echo '  MIG 3g.20gb Device  1: (UUID: MIG-a0c1)'\necho 'GPU 1: NVIDIA A100 (UUID: GPU-77aa)'\n"
    )
    smi.chmod(0o755)
    assert cuda_build("good").names == ("MIG-91d2", "MIG-a0c1", "GPU-77aa")
    here = cuda_build("good", {"SLURM_GPUS_ON_NODE": "3"})
    assert here.names == ("MIG-91d2", "MIG-a0c1", "GPU-77aa") and here.notes == ()
    here = cuda_build("good", {"SLURM_GPUS_ON_NODE": "2"})
    assert here.names == () and "nothing says which of them are this job's" in here.notes[0]


def test_a_machine_without_a_card_starts_nothing(monkeypatch):
    monkeypatch.setattr(gpus, "DEVICE_FILES", ("/nonexistent/*",) * 2)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(sys, "executable", str(Path("/nonexistent")))
    assert gpus_here() == Gpus()
