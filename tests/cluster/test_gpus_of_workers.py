"""What allocations and local runs make of GPUs, and what Ray gives each worker; there need be no GPU here."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from inpaint_hpc import gpus
from inpaint_hpc.campaign.resources import machine_memory, workers_per_gpu
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cli.doctor import _lines
from inpaint_hpc.cluster.inspection import inspect_environment
from inpaint_hpc.cluster.local import Workers, choose_workers, make_executor
from inpaint_hpc.cluster.slurm.allocation import Allocation
from inpaint_hpc.cluster.slurm.job_step import make_node
from inpaint_hpc.cluster.slurm.rendezvous import here
from inpaint_hpc.errors import InputError
from inpaint_hpc.kernels import problems
from inpaint_hpc.sampling.batching import BYTES_PER_EDGE, default_edge_budget

AUTO = SimpleNamespace(device="auto", actors="auto", threads=None, analysis="auto")
SLICES = ",".join(f"MIG-8210e6aa-6e55-5fcc-b76a-18069cb4752{k}" for k in range(4))


@pytest.fixture
def node(monkeypatch, tmp_path):
    """This process as one step on a node of a site, with torch seeing some GPUs and scontrol saying something."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_GPUS_ON_NODE", *gpus._LISTS):
        monkeypatch.delenv(name, raising=False)
    step = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_STEP_NUM_NODES": "1", "SLURM_CPUS_ON_NODE": "64"}
    for name, value in (step | {"SLURMD_NODENAME": "g1", "PATH": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)

    def node(environment: dict[str, str], seen: int, gres: str = "(null)"):
        scontrol = tmp_path / "scontrol"
        scontrol.write_text(f"#!/bin/sh\necho 'NodeName=g1 CPUTot=64 Gres={gres} NodeAddr=g1'\n")
        scontrol.chmod(0o755)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
        return here()

    return node


@pytest.mark.parametrize("device", [None, "cuda"])
@pytest.mark.parametrize(
    ("environment", "seen", "gres"),
    [
        ({}, 4, "(null)"),
        ({"SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_GPUS": "0,1,2,3"}, 4, "gpu:4(S:0-1)"),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4, "gpu:a100:4"),
        ({"CUDA_VISIBLE_DEVICES": SLICES}, 1, "gpu:4"),
    ],
    ids=["whole node without GRES", "list of the job", "number only", "MIG slices"],
)
def test_a_node_works_on_all_its_gpus(node, device, environment, seen, gres):
    context = node(environment, seen, gres)
    assert Allocation(".", "0", device=device).workers(context, AUTO) == (
        "cuda",
        4,
        2,
    )  # the other cores are for the analysis
    assert ShardWorker.problem_here("cuda", context.gpus) == "" and context.gpu_notes == ()


@pytest.mark.parametrize(
    ("environment", "seen", "gres", "said"),
    [
        ({}, 4, "gpu:4", r"4 GPUs are unused: the job asked for none \(gpu:4\)"),
        ({"SLURM_GPUS_ON_NODE": "2"}, 4, "gpu:4", "nothing says which"),
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, 0, "(null)", "a GPU twice"),
    ],
)
def test_gpus_of_others_are_left_alone_and_that_is_said(node, environment, seen, gres, said):
    context = node(environment, seen, gres)
    assert Allocation(".", "0").workers(context, AUTO)[0] == "cpu"
    assert context.gpu_notes
    with pytest.raises(InputError, match=said):
        device, _, _ = Allocation(".", "0", device="cuda").workers(context, AUTO)
        problem = ShardWorker.problem_here(device, context.gpus)
        raise InputError(problem)


def test_a_node_with_a_broken_card_works_on_the_others(node):
    context = node({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 3)
    assert Allocation(".", "0", device="cuda").workers(context, AUTO)[:2] == ("cuda", 3)
    assert ShardWorker.problem_here("cuda", context.gpus) == ""
    assert context.gpu_notes == ("1 of 4 GPUs are unused: torch sees no more",)


def test_promised_gpus_that_torch_cannot_use(node):
    context = node({"SLURM_GPUS_ON_NODE": "2"}, 0)
    assert Allocation(".", "0").workers(context, AUTO)[0] == "cpu"
    assert "2 of 2 GPUs are unused: torch" in context.gpu_notes[0]
    assert "can use 0 of 2 GPUs (2 of 2 GPUs are unused: torch" in ShardWorker.problem_here("cuda", context.gpus)


def test_local_runs_too(node, caplog):
    node({"CUDA_VISIBLE_DEVICES": SLICES}, 1)
    workers = choose_workers()
    assert (workers.actors, workers.device, workers.gpus) == (4, "cuda", 4) and not caplog.records
    node({"CUDA_VISIBLE_DEVICES": "0,1"}, 1)
    assert choose_workers().gpus == 1
    assert "1 of 2 GPUs are unused: torch sees no more; the workers run on 1 GPUs" in caplog.text
    node({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0)
    assert choose_workers().device == "cpu"
    with pytest.raises(InputError, match="no CUDA device is available to torch"):
        choose_workers(device="cuda")


@pytest.mark.parametrize("amd", [False, True], ids=["MIG", "AMD"])
def test_each_ray_worker_sees_its_own_gpu(node, monkeypatch, tmp_path, caplog, amd):
    """For AMD the node's Ray, which sees no card here, takes them for NVIDIA's: torch must read the right variable."""

    class TellingWorker:  # in here, so that it is pickled whole
        note = "no kernels on its GPU"

        def __init__(self, *_):
            self.seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}

        def run_unit(self, unit):
            return self.seen

    path = os.environ["PATH"]
    node({"CUDA_VISIBLE_DEVICES": SLICES}, 1)
    names = SLICES.split(",")[:2]
    if amd:
        monkeypatch.setattr(torch.version, "hip", "7.0")
        node({"ROCR_VISIBLE_DEVICES": "4,5"}, 2)
        names = ["0", "1"]
    monkeypatch.setenv("PATH", os.defpath + os.pathsep + path)
    executor = make_executor(tmp_path, Workers(2, "cuda", 1, gpus=2), factory=TellingWorker)
    executor.start()
    try:
        while executor.idle() < 2:
            executor.wait(1.0)
        for unit in ("a", "b"):
            executor.submit(unit)
        reports = []
        while len(reports) < 2:
            reports += [outcome.report for outcome in executor.wait(1.0)]
    finally:
        executor.close()
    variable = "HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES"
    assert sorted(report.pop(variable) for report in reports) == names
    assert [list(report.values()) for report in reports] == [[None]] * 2
    assert caplog.text.count("no kernels on its GPU") == 1


def test_nodes_of_an_allocation_hand_out_the_same(node):
    context = node({"CUDA_VISIBLE_DEVICES": SLICES}, 1)
    made = make_node(".", context, SimpleNamespace(token=None), "cuda", 1, "127.0.0.1", None)
    assert made.gpus == 4 and made.variables["CUDA_VISIBLE_DEVICES"] == SLICES
    made = make_node(".", context, SimpleNamespace(token=None), "cpu", 1, "127.0.0.1", None)
    assert made.gpus == 0 and "CUDA_VISIBLE_DEVICES" not in made.variables


def test_doctor_says_which_kernels_are_used_and_why(monkeypatch):
    """Two cards, the second of which is old, and a third that falls off the bus."""

    def properties(index):
        if index == 2:
            raise RuntimeError("CUDA error: device is lost")
        return SimpleNamespace(name=f"card {index}", total_memory=2**30)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    pytest.importorskip("triton")
    monkeypatch.setattr(problems, "KNOWN", {0: ""})
    report = inspect_environment()
    kernels = [device["kernels"] for device in report["devices"]]
    assert kernels[1].startswith("Triton 3") and "compute capability 6.1" in kernels[2]
    assert report["problems"] == ["cuda:2 cannot be used: CUDA error: device is lost"]


def test_workers_that_share_a_gpu_share_its_memory(node, monkeypatch, tmp_path):
    class TellingWorker:  # in here, so that it is pickled whole
        def __init__(self, *_):
            torch.cuda.mem_get_info = lambda device: (80 << 30, 100 << 30)
            self.budget = default_edge_budget(torch.device("cuda"))

        def run_unit(self, unit):
            return self.budget

    found = {}
    for actors, units in ((1, 1), (2, 1), (2, 3)):
        node({"CUDA_VISIBLE_DEVICES": "0"}, 1)
        workers = Workers(actors, "cuda", 1, gpus=1, units_at_once=units)
        executor = make_executor(tmp_path, workers, factory=TellingWorker)
        executor.start()
        try:
            while not executor.idle():
                executor.wait(1.0)
            executor.submit("unit")
            reports = []
            while not reports:
                reports += [outcome.report for outcome in executor.wait(1.0)]
        finally:
            executor.close()
        found[actors, units] = reports[0]
    # Alone what is free, together a share of the card, whatever others have left of it so far.
    share = {key: int(0.6 * gib * 2**30) // BYTES_PER_EDGE for key, gib in {(1, 1): 80, (2, 1): 50}.items()}
    assert found == share | {(2, 3): int(0.6 * 100 * 2**30 / 3) // BYTES_PER_EDGE}


def test_whether_several_workers_can_share_a_card(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not gpus.multi_process_service() and workers_per_gpu(64, 4, 2**50) == 1
    (tmp_path / "control").touch()
    assert gpus.multi_process_service()
    number = tmp_path / "nvidia-cuda-mps-control.pid"
    number.write_text(f"{os.getpid()}\n")
    assert gpus.multi_process_service()
    assert [workers_per_gpu(cores, 4, 2**50) for cores in (4, 16, 32, 64, 256)] == [1, 1, 2, 4, 4]
    assert [workers_per_gpu(64, 4, gib * 2**30) for gib in (16, 24, 48, 96, 200)] == [1, 1, 2, 4, 4]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    number.write_text(str(ended.pid))  # of a daemon that was killed
    assert not gpus.multi_process_service()
    report = {"gpus": {"names": ["0"], "notes": [], "mps": False}, "cpu": {"cores": 1, "memory_GiB": 1.0}}
    report |= {"inpaint_hpc": "0", "python": "3", "platform": "L", "devices": [], "weights": [], "slurm": {}}
    lines = [value for label, value in _lines({**report, "optional": {}, "packages": {}}) if label == "gpus"]
    assert lines[0] == "1 for workers: 0" and lines[1].startswith("no CUDA MPS (nvidia-cuda-mps-control -d)")


def test_workers_take_the_memory_of_their_job():
    whole = machine_memory({})
    assert whole > 2**30 and machine_memory({"SLURM_MEM_PER_NODE": "0"}) == whole
    assert machine_memory({"SLURM_MEM_PER_NODE": "512"}) == 2**29
    assert machine_memory({"SLURM_MEM_PER_CPU": "256", "SLURM_CPUS_ON_NODE": "2"}) == 2**29
    assert machine_memory({"SLURM_MEM_PER_NODE": "999999999"}) == whole
