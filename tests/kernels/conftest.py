"""Kernels are tested compiled on a GPU, and in Triton's interpreter on the CPU, which needs a process of its own:
Triton looks at TRITON_INTERPRET when it is imported, and other tests of this process shall not use the interpreter."""

import os
from pathlib import Path

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_generate_tests(metafunc):
    """Tests that take `device` run in the interpreter or on the GPU, whichever this process can do."""
    if "device" in metafunc.fixturenames:
        cuda = pytest.param("cuda", marks=pytest.mark.gpu)
        metafunc.parametrize("device", ["cpu" if INTERPRETED else cuda])


@pytest.fixture
def interpreted():
    """Asked for by tests that run in the interpreter only."""
    if not INTERPRETED:
        pytest.skip("in the interpreter")


def pytest_collection_modifyitems(config, items):
    """In the interpreter only what needs it: the other tests of this folder run without it already."""
    if INTERPRETED:
        others = [
            item
            for item in items
            if Path(__file__).parent in item.path.parents and not {"device", "interpreted"} & set(item.fixturenames)
        ]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
