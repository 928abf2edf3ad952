"""CHGNet with kernels against CHGNet without, from crystals to stress."""

import pytest
import torch
from real_crystals import DIMERS, SODIUM, smoke

from inpaint_hpc.scoring.chgnet.batch import evaluate


def test_kernels_change_nothing(device, monkeypatch):
    # The interpreter takes seconds for each: those of up to nine atoms have more rows than a block already.
    some = smoke()[::60] if device == "cuda" else smoke()[:180:60]
    crystals = [*some, SODIUM, DIMERS]
    found = evaluate(crystals, device=device)
    monkeypatch.setenv("INPAINT_HPC_KERNELS", "0")
    expected = evaluate(crystals)
    assert not any(found.errors)
    rounding = 1e-6 if device == "cpu" else 1e-5  # matrix products on a GPU add up in another order
    torch.testing.assert_close(found.energy_per_atom, expected.energy_per_atom, atol=rounding, rtol=0)
    torch.testing.assert_close(found.forces, expected.forces, atol=10 * rounding, rtol=0)
    torch.testing.assert_close(found.stress, expected.stress, atol=100 * rounding, rtol=0)
    torch.testing.assert_close(found.magmoms, expected.magmoms, atol=10 * rounding, rtol=0)


@pytest.mark.gpu
def test_the_same_bits_twice():
    crystals = smoke()[::5]
    first, second = (evaluate(crystals, device="cuda") for _ in range(2))
    for name in ("energy_per_atom", "forces", "stress", "magmoms"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
