"""Whether kernels can be compiled and launched here; imported only where they are to run."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import torch
import triton
import triton.language as tl

from .gated_mlp_triton import PRECISION
from .launch import launch

_N = 16
_NAME = "inpaint_hpc_trial"
_SOURCE = f"""
#include <Python.h>
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "{_NAME}", NULL, -1, NULL}};
PyMODINIT_FUNC PyInit_{_NAME}(void) {{ return PyModule_Create(&module); }}
"""


def try_compiler() -> None:
    """Compile and load a module in C as Triton does for the launcher of each kernel.

    A kernel whose launcher is in the cache would work without a compiler, and the next one would not.

    Raises:
        RuntimeError: no C compiler.
        subprocess.CalledProcessError: it failed.
        OSError, ImportError: Triton's cache cannot be written or loaded from.
    """
    try:
        from triton.runtime.build import compile_module_from_src
    except ImportError:  # other versions of Triton; the kernel is tried all the same
        return
    # Never in the cache, nor left in it.
    module = compile_module_from_src(f"/* {uuid.uuid4().hex} */{_SOURCE}", _NAME)
    shutil.rmtree(Path(module.__file__).parent, ignore_errors=True)


def try_kernel(device: torch.device) -> None:
    """Launch a kernel with what is most likely to be missing, a product in several parts on tensor cores.

    Raises:
        Exception: it cannot be compiled or launched.
        ArithmeticError: its result is wrong.
    """
    x = torch.linspace(-1.0, 1.0, _N * _N, device=device).view(_N, _N)
    out = torch.empty_like(x)
    launch(_square, (1,), x, x, out, N=_N, PRECISION=PRECISION, num_warps=1)
    expected = x.double() @ x.double()
    if not torch.allclose(out.double(), expected, atol=1e-4):
        raise ArithmeticError("a small kernel gives wrong numbers")


@triton.jit
def _square(x, out, N: tl.constexpr, PRECISION: tl.constexpr):
    row = tl.arange(0, N)
    place = row[:, None] * N + row[None, :]
    tl.store(out + place, tl.dot(tl.load(x + place), tl.load(x + place), input_precision=PRECISION))
