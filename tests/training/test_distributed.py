"""The device of a training process."""

import pytest
import torch

from inpaint_hpc.training.distributed import Parallel


@pytest.mark.parametrize(("device", "current"), [("cuda:1", ["cuda:1"]), ("cuda", ["cuda:0"]), ("cpu", [])])
def test_training_makes_its_device_the_current_one(monkeypatch, device, current):
    """Streams and CUDA graphs belong to the current device."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    Parallel(device)
    assert chosen == current
