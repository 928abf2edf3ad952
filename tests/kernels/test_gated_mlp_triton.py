"""The fused gated unit against the torch one, with all gradients."""

import pytest
import torch
from chgnet.model.functions import GatedMLP

from inpaint_hpc.scoring.chgnet.gated_mlp import BlockGatedMLP


def with_gradients(unit, hidden, factor):
    hidden = hidden.clone().requires_grad_()
    factor = None if factor is None else factor.clone().requires_grad_()
    out = unit(hidden, factor)
    weight = torch.arange(out.numel(), dtype=out.dtype, device=out.device).view(out.shape).sin()
    inputs = [hidden] if factor is None else [hidden, factor]
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


@pytest.mark.parametrize("norm", ["layer", None])
@pytest.mark.parametrize("hidden_dim", [64, 0])
@pytest.mark.parametrize(("repeats", "rows"), [(0, 301), (1, 301), (2, 301), (2, 1), (1, 0), (0, 0)])
def test_equal_to_torch_with_gradients(device, norm, hidden_dim, repeats, rows, monkeypatch):
    torch.manual_seed(0)
    module = GatedMLP(input_dim=5, output_dim=64, hidden_dim=hidden_dim, norm=norm).double().requires_grad_(False)
    for parameter in module.parameters():
        parameter.normal_(std=0.3)
    double = BlockGatedMLP(module, (5,), torch.float64)
    single = BlockGatedMLP(module.to(device), (5,), torch.float32)
    hidden = torch.randn(max(1, repeats) * rows, 128)
    factor = torch.randn(rows, 64) if repeats else None
    found = with_gradients(single, hidden.to(device), None if factor is None else factor.to(device))
    monkeypatch.setenv("INPAINT_HPC_KERNELS", "0")
    expected = with_gradients(double, hidden.double(), None if factor is None else factor.double())
    for a, b in zip(found, expected, strict=True):
        largest = max([1.0, *b.detach().abs().flatten().tolist()])
        torch.testing.assert_close(a.cpu().double(), b, atol=2e-6 * largest, rtol=1e-5)


@pytest.mark.gpu
def test_the_same_bits_twice():
    torch.manual_seed(0)
    module = GatedMLP(input_dim=5, output_dim=64, hidden_dim=64, norm="layer").double().requires_grad_(False).cuda()
    unit = BlockGatedMLP(module, (5,), torch.float32)
    hidden, factor = torch.randn(2, 100_001, 128, device="cuda"), torch.randn(100_001, 64, device="cuda")
    first, second = (with_gradients(unit, hidden, factor) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
