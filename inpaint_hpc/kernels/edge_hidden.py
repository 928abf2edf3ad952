"""Hidden layer of the radial network of every edge on a GPU, in one pass.

`silu(radial W + from_sender[sender] + from_receiver[receiver]) gain`: three terms gathered, added and activated without
an intermediate.  `inpaint_hpc.network.layers.Message` has the torch version.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import launch
from .rows import Rows

_EDGES = 16  # edges per program; with more, register use would reduce the number of programs running at a time


def edge_hidden(
    radial: torch.Tensor,
    weight: torch.Tensor,
    from_sender: torch.Tensor,
    from_receiver: torch.Tensor,
    sender: Rows,
    receiver: Rows,
    gain: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Activated hidden layer of E edges, (E, H), in `dtype`.

    Differentiable by all but `radial`.

    Args:
        radial: radial functions of each edge, (E, n).
        weight: their linear map, (n, H).
        from_sender: share of the N senders, (N, H).  from_receiver: of the R receivers, (R, H).
        sender, receiver: rows of these of each edge.
        gain: factor on the result.
    """
    return _EdgeHidden.apply(radial, weight, from_sender, from_receiver, sender, receiver, gain, dtype)


class _EdgeHidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, radial, weight, from_sender, from_receiver, sender: Rows, receiver: Rows, gain, dtype):
        tensors = [x.contiguous() for x in (radial, weight, from_sender, from_receiver)]
        ctx.save_for_backward(*tensors)
        ctx.sender, ctx.receiver, ctx.gain = sender, receiver, gain
        out = torch.empty(len(radial), weight.shape[1], dtype=dtype, device=radial.device)
        _launch(tensors, sender, receiver, out, out, gain, backward=False)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        radial, weight = ctx.saved_tensors[:2]
        by_hidden = torch.empty(grad.shape, dtype=weight.dtype, device=grad.device)
        _launch(ctx.saved_tensors, ctx.sender, ctx.receiver, grad.contiguous(), by_hidden, ctx.gain, backward=True)
        by_weight = radial.T @ by_hidden
        return None, by_weight, ctx.sender.sum(by_hidden), ctx.receiver.sum(by_hidden), None, None, None, None


def _launch(tensors, sender: Rows, receiver: Rows, grad, out, gain, *, backward: bool) -> None:
    radial, weight, from_sender, from_receiver = tensors
    n_edges, n_basis = radial.shape
    width = weight.shape[1]
    if n_edges:
        launch(
            _kernel, (triton.cdiv(n_edges, _EDGES),), radial,
            radial, weight, from_sender, from_receiver, sender.index, receiver.index, grad, out, n_edges, float(gain),
            N=n_basis, H=width, BH=triton.next_power_of_2(width), BE=_EDGES, BACKWARD=backward, num_warps=4,
        )  # fmt: skip


@triton.jit
def _kernel(
    radial, weight, from_sender, from_receiver, sender, receiver, grad, out, n_edges, gain,
    N: tl.constexpr, H: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    edge = tl.program_id(0).to(tl.int64) * BE + tl.arange(0, BE)[:, None]
    h = tl.arange(0, BH)[None, :]
    there = edge < n_edges
    m = there & (h < H)
    kind = weight.dtype.element_ty
    s = tl.load(sender + edge, mask=there, other=0)
    r = tl.load(receiver + edge, mask=there, other=0)
    x = tl.load(from_sender + s * H + h, mask=m, other=0.0) + tl.load(from_receiver + r * H + h, mask=m, other=0.0)
    for k in tl.static_range(N):
        x += tl.load(radial + edge * N + k, mask=there, other=0.0) * tl.load(weight + k * H + h, mask=h < H, other=0.0)
    gate = 1.0 / (1.0 + tl.exp(-x))
    if BACKWARD:
        g = tl.load(grad + edge * H + h, mask=m, other=0.0).to(kind)
        tl.store(out + edge * H + h, g * gain * gate * (1.0 + x * (1.0 - gate)), mask=m)
    else:
        tl.store(out + edge * H + h, x * gate * gain, mask=m)
