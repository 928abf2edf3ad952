"""Kernels are tested compiled on a GPU, and in Triton's interpreter on the CPU, which needs a process of its own:
Triton looks at TRITON_INTERPRET when it is imported, and other tests of this process shall not use the interpreter."""

import os

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_generate_tests(metafunc):
    """Tests that take `device` run in the interpreter or on the GPU, whichever this process can do."""
    if "device" in metafunc.fixturenames:
        cuda = pytest.param("cuda", marks=pytest.mark.gpu)
        metafunc.parametrize("device", ["cpu" if INTERPRETED else cuda])
