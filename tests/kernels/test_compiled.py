"""Kernels are compiled for an H100 on any Linux machine: it takes no GPU, and finds what the interpreter lets pass."""

import re
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("triton")
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from inpaint_hpc.kernels import edge_hidden, message, neighbors, trial
from inpaint_hpc.kernels import gated_mlp_triton as gate
from inpaint_hpc.kernels import rows_triton as rows

LARGEST_SHARED = 232_448  # bytes per block
INTEGERS = {"n": "i32", "n_factor": "i32", "eps": "fp32", "width": "i32", "order": "*i64", "start": "*i64"}

NETWORK = {
    name: "*i64"
    for name in (
        "sender", "receiver", "starts", "receiver_cell", "receiver_group", "first_sender", "n_senders", "shifts",
        "first_shift", "n_shifts", "lengths", "sender_out", "shift_out",
    )
} | {"n_edges": "i32", "gain": "fp32", "inverse": "*fp64", "cells": "*fp64", "limit": "*fp64"}  # fmt: skip


def compiled(kernel, warps, constants, tmp_path, types=INTEGERS):
    """Bytes that do not fit into registers and bytes of shared memory of a kernel; arguments are arrays of float32
    where `types` does not say otherwise."""
    if not hasattr(kernel, "arg_names") or not isinstance(kernel, triton.runtime.jit.JITFunction):
        pytest.skip("this is the interpreter")
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in names}
    aligned = {(k,): [["tt.divisibility", 16]] for k, name in enumerate(names) if signature[name][0] == "*"}
    source = ASTSource(kernel, signature, {(names.index(key),): value for key, value in constants.items()}, aligned)
    result = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    (tmp_path / "kernel.ptx").write_text(result.asm["ptx"])
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    command = [ptxas, "-v", "--gpu-name=sm_90a", tmp_path / "kernel.ptx", "-o", tmp_path / "kernel.cubin"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return sum(map(int, re.findall(r"(\d+) bytes spill", said))), result.metadata.shared


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("name", ["_forward", "_backward"])
def test_gated_unit(name, second, tmp_path):
    tile = {"_forward": gate.FORWARD, "_backward": gate.BACKWARD}[name] if second else gate.WITHOUT_PRODUCTS
    constants = {"HAS_FACTOR": second, "HAS_SECOND": second, "WIDTH": 64, "ROWS": tile[0], "PRECISION": gate.PRECISION}
    spilled, shared = compiled(getattr(gate, name), tile[1], constants, tmp_path)
    assert spilled == 0 and shared <= LARGEST_SHARED


@pytest.mark.parametrize(("has_order", "columns"), [(True, 128), (False, 128), (True, 4)])
def test_sums(has_order, columns, tmp_path):
    constants = {"HAS_ORDER": has_order, "ROWS": 8 if columns == 128 else 32, "COLUMNS": columns}
    spilled, shared = compiled(rows._sum, 1, constants, tmp_path)
    assert spilled == 0 and shared <= LARGEST_SHARED


@pytest.mark.parametrize("low", ["*fp32", "*bf16"])
@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("kernel", ["_forward_kernel", "_backward_kernel"])
@pytest.mark.parametrize(("channels", "tensor_channels"), [(48, 16), (80, 32)])
def test_messages(kernel, channels, tensor_channels, vectors, low, tmp_path):
    shape = message._shape(channels)
    constants = {"C": channels, "CT": tensor_channels, "HAS_V": vectors, "BC": shape["BC"], "BE": shape["BE"]}
    types = NETWORK | {"weights": low, "by_weights": low}
    spilled, shared = compiled(getattr(message, kernel), shape["num_warps"], constants, tmp_path, types)
    assert spilled == 0 and shared <= LARGEST_SHARED


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("width", [64, 96])
def test_hidden_layers(width, backward, tmp_path):
    constants = {"N": 10, "H": width, "BH": 128, "BE": edge_hidden._EDGES, "BACKWARD": backward}
    assert compiled(edge_hidden._kernel, 4, constants, tmp_path, NETWORK)[0] == 0


def test_trial(tmp_path):
    assert compiled(trial._square, 1, {"N": trial._N, "PRECISION": trial.PRECISION}, tmp_path)[0] == 0


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_neighbors(same, write, tmp_path):
    constants = {"SAME": same, "WRITE": write, "BLOCK": neighbors._CANDIDATES}
    assert compiled(neighbors._kernel, 4, constants, tmp_path, NETWORK)[0] == 0
