"""The gated unit against chgnet's module, and its hand-written backward pass against numerical derivatives."""

import pytest
import torch
from chgnet.model.functions import GatedMLP

from inpaint_hpc.scoring.chgnet.gated_mlp import BlockGatedMLP


def make(norm, hidden, seed=0):
    """chgnet's module in float64 with every parameter random, also those that start as zeros and ones."""
    torch.manual_seed(seed)
    module = GatedMLP(input_dim=11, output_dim=6, hidden_dim=hidden, norm=norm).double().requires_grad_(False)
    for parameter in module.parameters():
        parameter.normal_()
    return module, BlockGatedMLP(module, (4, 2, 5), torch.float64)


def hidden_of(unit, x):
    blocks = torch.split(x, [4, 2, 5], dim=-1)
    return sum(block @ weight for block, weight in zip(blocks, unit.maps, strict=True)) + unit.bias


@pytest.mark.parametrize("norm", ["layer", None])
@pytest.mark.parametrize("hidden", [6, 0])
def test_equal_to_chgnet_and_differentiable(norm, hidden):
    module, unit = make(norm, hidden)
    x = torch.randn(9, 11, dtype=torch.float64)
    expected = module(x)
    torch.testing.assert_close(unit(hidden_of(unit, x)), expected, atol=1e-12, rtol=1e-10)
    # Leading dimensions are only rows.
    torch.testing.assert_close(unit(hidden_of(unit, x.view(3, 3, 11))).view(9, 6), expected, atol=1e-12, rtol=1e-10)
    inner = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, inner)
    factor = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    both = torch.stack([inner.detach(), -inner.detach()]).requires_grad_()
    torch.testing.assert_close(unit(both, factor), unit(both) * factor)
    assert torch.autograd.gradcheck(unit, (both, factor))


def test_the_input_is_not_changed():
    _, unit = make("layer", 6)
    for _, unit in (make("layer", 6), make("layer", 0)):
        hidden = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
        before = hidden.detach().clone()
        unit(hidden).sum().backward()
        assert torch.equal(hidden.detach(), before)


def test_no_rows_at_all():
    _, unit = make("layer", 6)
    hidden = torch.zeros(0, 12, dtype=torch.float64, requires_grad=True)
    out = unit(hidden)
    out.sum().backward()
    assert out.shape == (0, 6) and hidden.grad.shape == (0, 12)
