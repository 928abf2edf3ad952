"""CHGNet's gated MLP, `silu(norm(core)) * sigmoid(norm(gate))`, differentiated by hand.

Autograd would keep every intermediate of every edge in memory.  `_Gate` keeps the input of the hidden layer and the
normalised halves, and recomputes the activations, which is cheaper than reading them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hpc.kernels.available import use_kernels
from inpaint_hpc.kernels.gated_mlp_weights import GatedWeights

LAYER_NORM_EPS = 1e-5


class BlockGatedMLP:
    """A frozen `GatedMLP` of chgnet whose first linear map is cut by blocks of its input.

    Args:
        module: chgnet's `GatedMLP`, in float64.
        columns: widths of the blocks that chgnet concatenates into the input.
        dtype: dtype of the stored weights.

    Attributes:
        maps: one matrix (columns[k], 2 d) per block; the sum of the products is the input of `__call__` less `bias`.
        bias: (2 d,).
    """

    def __init__(self, module: Any, columns: Sequence[int], dtype: torch.dtype) -> None:
        halves = [linear_layers(module.mlp_core), linear_layers(module.mlp_gate)]
        first = torch.cat([half[0].weight for half in halves])
        bias = torch.cat([half[0].bias for half in halves])
        center = torch.eye(first.shape[0] // 2, dtype=first.dtype, device=first.device)
        norms = [module.bn1, module.bn2]
        if module.norm is not None:
            # Layer normalisation subtracts the mean first: that projection is part of the last linear map here.
            center = center - 1.0 / len(center)
        second: list[Tensor | None] = [None] * 4
        if len(halves[0]) == 2:
            core, gate = (half[1] for half in halves)
            second = [(center @ core.weight).T, (center @ gate.weight).T, center @ core.bias, center @ gate.bias]
        else:
            both = torch.block_diag(center, center)
            first, bias = both @ first, both @ bias
        affine: list[Tensor | None] = [None, None]
        if module.norm is not None:
            affine = [torch.stack([norm.weight for norm in norms]), torch.stack([norm.bias for norm in norms])]
        kept: list[Any] = [None if tensor is None else tensor.to(dtype).contiguous() for tensor in second + affine]
        self.weights = GatedWeights(*kept)
        self.maps = [block.T.to(dtype).contiguous() for block in torch.split(first, list(columns), dim=1)]
        self.bias = bias.to(dtype)

    def __call__(self, hidden: Tensor, factor: Tensor | None = None) -> Tensor:
        """The output (..., d) of the MLP from the output of its first linear map (..., 2 d), times a factor
        (rows, d) that is repeated along the leading dimensions."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        gate = _FusedGate if _fused(rows, self.weights) else _Gate
        out = gate.apply(rows, factor, self.weights)
        return out.view(*hidden.shape[:-1], out.shape[1])


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, factor: Tensor | None, weights: GatedWeights) -> Tensor:
        width = hidden.shape[1] // 2
        inverse = None
        if weights.core is None:
            halves = hidden.view(-1, 2, width)
        else:
            assert weights.gate is not None and weights.core_bias is not None and weights.gate_bias is not None
            active = F.silu(hidden)
            halves = torch.empty_like(hidden)
            torch.addmm(weights.core_bias, active[:, :width], weights.core, out=halves[:, :width])
            torch.addmm(weights.gate_bias, active[:, width:], weights.gate, out=halves[:, width:])
            halves = halves.view(-1, 2, width)
        if weights.scale is not None:
            square = torch.linalg.vector_norm(halves, dim=2, keepdim=True).square_()
            inverse = square.div_(width).add_(LAYER_NORM_EPS).rsqrt_()
            halves = halves * inverse if weights.core is None else halves.mul_(inverse)
        ctx.weights = weights
        ctx.save_for_backward(None if weights.core is None else hidden, halves, inverse, factor)
        before = _affine(halves, weights)
        out = F.silu(before[:, 0]).mul_(torch.sigmoid(before[:, 1]))
        if factor is not None:
            _repeated(out, factor).mul_(factor)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        weights = ctx.weights
        hidden, halves, inverse, factor = ctx.saved_tensors
        width = halves.shape[2]
        before = _affine(halves, weights)
        core, gate = F.silu(before[:, 0]), torch.sigmoid(before[:, 1])
        by_factor = None
        if factor is not None:
            by_factor = _repeated(grad * core * gate, factor).sum(0)
            grad = (_repeated(grad, factor) * factor).view(-1, width)
        result = torch.empty_like(halves)
        torch.mul(grad, core, out=result[:, 1])
        torch.ops.aten.sigmoid_backward(result[:, 1], gate, grad_input=result[:, 1])
        torch.ops.aten.silu_backward(gate.mul_(grad), before[:, 0], grad_input=result[:, 0])
        if weights.scale is not None:
            result.mul_(weights.scale)
            result.addcmul_(halves, (result * halves).mean(2, keepdim=True), value=-1).mul_(inverse)
        result = result.view(-1, 2 * width)
        if weights.core is None:
            return result, by_factor, None
        inner = torch.empty_like(result)
        torch.mm(result[:, :width], weights.core.T, out=inner[:, :width])
        torch.mm(result[:, width:], weights.gate.T, out=inner[:, width:])
        return torch.ops.aten.silu_backward(inner, hidden, grad_input=inner), by_factor, None


class _FusedGate(torch.autograd.Function):
    """`_Gate` in one kernel per direction, keeping only its arguments."""

    @staticmethod
    def forward(ctx, hidden: Tensor, factor: Tensor | None, weights: GatedWeights) -> Tensor:
        from inpaint_hpc.kernels import gated_mlp_triton as kernels

        hidden, factor = hidden.contiguous(), None if factor is None else factor.contiguous()
        ctx.weights = weights
        ctx.save_for_backward(hidden, factor)
        return kernels.forward(hidden, factor, weights, LAYER_NORM_EPS)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        from inpaint_hpc.kernels import gated_mlp_triton as kernels

        hidden, factor = ctx.saved_tensors
        return *kernels.backward(grad.contiguous(), hidden, factor, ctx.weights, LAYER_NORM_EPS), None


def _fused(hidden: Tensor, weights: GatedWeights) -> bool:
    if not use_kernels(hidden):
        return False
    from inpaint_hpc.kernels import gated_mlp_triton as kernels

    return kernels.suits(hidden, weights)


def _repeated(rows: Tensor, factor: Tensor) -> Tensor:
    """Rows (k r, d) as k times the rows of a factor (r, d)."""
    return rows.view(len(rows) // max(1, len(factor)), *factor.shape)


def _affine(halves: Tensor, weights: GatedWeights) -> Tensor:
    if weights.scale is None or weights.shift is None:
        return halves
    return torch.addcmul(weights.shift, halves, weights.scale)


def linear_layers(mlp: Any) -> list[nn.Linear]:
    """The linear layers of chgnet's `MLP`, in order."""
    return [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
