"""Messages of the score network on a GPU: tensor product and sum over neighbours in one pass, without atomic additions.

Written out in torch, a message reads and writes each of its intermediates (some 8,000 numbers per edge and layer in the
large network) in GPU memory, which limits the speed.  Here one program takes the edges of one receiver
through the whole product and keeps the sums in registers.  `inpaint_hpc.network.layers.Message` has the torch version.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import launch
from .rows import Rows

_ROOT3 = tl.constexpr(3**0.5)
_EDGES = 4  # edges that a program works on at a time


def message_sums(
    weights: torch.Tensor,
    geometry: torch.Tensor,
    scalars: torch.Tensor,
    vectors: torch.Tensor | None,
    sender: Rows,
    receiver: Rows,
    tensor_channels: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Messages along E edges, sorted by receiver, summed over the edges of each of R receivers.

    Differentiable by `weights`, `scalars` and `vectors`, not by the geometry.

    Args:
        weights: of the paths of each edge, (E, 5 C + Ct), or (E, 2 C + Ct) without vectors.
        geometry: l = 1 harmonics, l = 2 harmonics and the factor on the weights of each edge, (E, 3 + 5 + 1).
        scalars: of the N senders, (N, C).  vectors: (N, 3, C) or None.
        sender, receiver: rows of the two ends of each edge; the latter with its lengths.
        tensor_channels: Ct.

    Returns:
        scalars (R, C), vectors (R, 3, C), tensors (R, 5, Ct).
    """
    n, channels = receiver.n, scalars.shape[1]
    flat = scalars if vectors is None else vectors.flatten(1)
    out = _MessageSums.apply(weights, scalars, flat, geometry, sender, receiver, tensor_channels, vectors is not None)
    s, v, t = out.split([channels, 3 * channels, 5 * tensor_channels], 1)
    return s, v.reshape(n, 3, channels), t.reshape(n, 5, tensor_channels)


class _MessageSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, scalars, vectors, geometry, sender: Rows, receiver: Rows, tensor_channels, has_vectors):
        starts = receiver.segments()[1]
        weights, scalars, vectors = weights.contiguous(), scalars.contiguous(), vectors.contiguous()
        channels, n = scalars.shape[1], len(starts) - 1
        out = scalars.new_empty(n, 4 * channels + 5 * tensor_channels)
        if n:
            launch(
                _forward_kernel, (n,), weights,
                weights, scalars, vectors, geometry, sender.index, starts, out,
                C=channels, CT=tensor_channels, HAS_V=has_vectors, **_shape(channels),
            )  # fmt: skip
        ctx.save_for_backward(weights, scalars, vectors, geometry, starts)
        ctx.sender, ctx.padded, ctx.tensor_channels, ctx.has_vectors = (
            sender,
            receiver.padded,
            tensor_channels,
            has_vectors,
        )
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        weights, scalars, vectors, geometry, starts = ctx.saved_tensors
        channels, n = scalars.shape[1], len(starts) - 1
        # No program visits padding edges, but sums over senders include them.
        empty = torch.zeros if ctx.padded else torch.empty
        by_weights = empty(weights.shape, dtype=weights.dtype, device=weights.device)
        # Both in one array, so that they are summed by sender in one pass.
        width = channels * (4 if ctx.has_vectors else 1)
        by_sender = empty(len(weights), width, dtype=scalars.dtype, device=scalars.device)
        if n:
            launch(
                _backward_kernel, (n,), weights,
                weights, scalars, vectors, geometry, ctx.sender.index, starts, grad.contiguous(), by_weights, by_sender,
                C=channels, CT=ctx.tensor_channels, HAS_V=ctx.has_vectors, **_shape(channels),
            )  # fmt: skip
        summed = ctx.sender.sum(by_sender)
        by_vectors = summed[:, channels:] if ctx.has_vectors else None
        return by_weights, summed[:, :channels], by_vectors, None, None, None, None, None


def _shape(channels: int) -> dict[str, int]:
    """Block of channels, edges at a time and warps of a program."""
    block = triton.next_power_of_2(channels)
    return {"BC": block, "BE": _EDGES, "num_warps": 4 if block > 32 else 2}


@triton.jit
def _forward_kernel(
    weights, scalars, vectors, geometry, sender, starts, out,
    C: tl.constexpr, CT: tl.constexpr, HAS_V: tl.constexpr, BC: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    receiver = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, BC)[None, :]
    kind = scalars.dtype.element_ty
    W: tl.constexpr = (5 * C if HAS_V else 2 * C) + CT
    sum_s = tl.zeros((BE, BC), kind)
    sum_x = tl.zeros((BE, BC), kind)
    sum_y = tl.zeros((BE, BC), kind)
    sum_z = tl.zeros((BE, BC), kind)
    sum_0 = tl.zeros((BE, BC), kind)
    sum_1 = tl.zeros((BE, BC), kind)
    sum_2 = tl.zeros((BE, BC), kind)
    sum_3 = tl.zeros((BE, BC), kind)
    sum_4 = tl.zeros((BE, BC), kind)
    first = tl.load(starts + receiver)
    end = tl.load(starts + receiver + 1)
    while first < end:
        edge = first + tl.arange(0, BE)[:, None]
        there = edge < end
        m = there & (c < C)
        mt = there & (c < CT)
        atom = tl.load(sender + edge, mask=there, other=0)
        g = geometry + edge * 9
        ux = tl.load(g, mask=there, other=0.0)
        uy = tl.load(g + 1, mask=there, other=0.0)
        uz = tl.load(g + 2, mask=there, other=0.0)
        scale = tl.load(g + 8, mask=there, other=0.0)
        w = weights + edge * W + c
        s = tl.load(scalars + atom * C + c, mask=m, other=0.0) * scale
        to_s = tl.load(w, mask=m, other=0.0).to(kind) * s
        along = tl.load(w + C, mask=m, other=0.0).to(kind) * s
        if HAS_V:
            v = vectors + atom * (3 * C) + c
            vx = tl.load(v, mask=m, other=0.0) * scale
            vy = tl.load(v + C, mask=m, other=0.0) * scale
            vz = tl.load(v + 2 * C, mask=m, other=0.0) * scale
            projected = (vx * ux + vy * uy + vz * uz) / _ROOT3
            to_s += tl.load(w + 2 * C, mask=m, other=0.0).to(kind) * projected
            along += tl.load(w + 3 * C, mask=m, other=0.0).to(kind) * projected
            own = tl.load(w + 4 * C, mask=m, other=0.0).to(kind)
            sum_x += own * vx
            sum_y += own * vy
            sum_z += own * vz
        sum_s += to_s
        sum_x += along * ux
        sum_y += along * uy
        sum_z += along * uz
        t = tl.load(w + (W - CT), mask=mt, other=0.0).to(kind) * s
        sum_0 += t * tl.load(g + 3, mask=there, other=0.0)
        sum_1 += t * tl.load(g + 4, mask=there, other=0.0)
        sum_2 += t * tl.load(g + 5, mask=there, other=0.0)
        sum_3 += t * tl.load(g + 6, mask=there, other=0.0)
        sum_4 += t * tl.load(g + 7, mask=there, other=0.0)
        first += BE
    c1 = tl.arange(0, BC)
    o = out + receiver * (4 * C + 5 * CT) + c1
    tl.store(o, tl.sum(sum_s, 0), mask=c1 < C)
    tl.store(o + C, tl.sum(sum_x, 0), mask=c1 < C)
    tl.store(o + 2 * C, tl.sum(sum_y, 0), mask=c1 < C)
    tl.store(o + 3 * C, tl.sum(sum_z, 0), mask=c1 < C)
    o += 4 * C
    tl.store(o, tl.sum(sum_0, 0), mask=c1 < CT)
    tl.store(o + CT, tl.sum(sum_1, 0), mask=c1 < CT)
    tl.store(o + 2 * CT, tl.sum(sum_2, 0), mask=c1 < CT)
    tl.store(o + 3 * CT, tl.sum(sum_3, 0), mask=c1 < CT)
    tl.store(o + 4 * CT, tl.sum(sum_4, 0), mask=c1 < CT)


@triton.jit
def _backward_kernel(
    weights, scalars, vectors, geometry, sender, starts, grad, by_weights, by_sender,
    C: tl.constexpr, CT: tl.constexpr, HAS_V: tl.constexpr, BC: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    receiver = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, BC)[None, :]
    kind = scalars.dtype.element_ty
    W: tl.constexpr = (5 * C if HAS_V else 2 * C) + CT
    WIDTH: tl.constexpr = 4 * C if HAS_V else C
    o = grad + receiver * (4 * C + 5 * CT) + c
    g_s = tl.load(o, mask=c < C, other=0.0)
    g_x = tl.load(o + C, mask=c < C, other=0.0)
    g_y = tl.load(o + 2 * C, mask=c < C, other=0.0)
    g_z = tl.load(o + 3 * C, mask=c < C, other=0.0)
    o += 4 * C
    g_0 = tl.load(o, mask=c < CT, other=0.0)
    g_1 = tl.load(o + CT, mask=c < CT, other=0.0)
    g_2 = tl.load(o + 2 * CT, mask=c < CT, other=0.0)
    g_3 = tl.load(o + 3 * CT, mask=c < CT, other=0.0)
    g_4 = tl.load(o + 4 * CT, mask=c < CT, other=0.0)
    first = tl.load(starts + receiver)
    end = tl.load(starts + receiver + 1)
    while first < end:
        edge = first + tl.arange(0, BE)[:, None]
        there = edge < end
        m = there & (c < C)
        mt = there & (c < CT)
        atom = tl.load(sender + edge, mask=there, other=0)
        g = geometry + edge * 9
        ux = tl.load(g, mask=there, other=0.0)
        uy = tl.load(g + 1, mask=there, other=0.0)
        uz = tl.load(g + 2, mask=there, other=0.0)
        scale = tl.load(g + 8, mask=there, other=0.0)
        w = weights + edge * W + c
        dw = by_weights + edge * W + c
        ds = by_sender + edge * WIDTH + c
        s = tl.load(scalars + atom * C + c, mask=m, other=0.0) * scale
        d_along = g_x * ux + g_y * uy + g_z * uz
        d_t = g_0 * tl.load(g + 3, mask=there, other=0.0)
        d_t += g_1 * tl.load(g + 4, mask=there, other=0.0)
        d_t += g_2 * tl.load(g + 5, mask=there, other=0.0)
        d_t += g_3 * tl.load(g + 6, mask=there, other=0.0)
        d_t += g_4 * tl.load(g + 7, mask=there, other=0.0)
        tl.store(dw, g_s * s, mask=m)
        tl.store(dw + C, d_along * s, mask=m)
        tl.store(dw + (W - CT), d_t * s, mask=mt)
        d_s = tl.load(w, mask=m, other=0.0).to(kind) * g_s + tl.load(w + C, mask=m, other=0.0).to(kind) * d_along
        d_s += tl.load(w + (W - CT), mask=mt, other=0.0).to(kind) * d_t
        tl.store(ds, d_s * scale, mask=m)
        if HAS_V:
            v = vectors + atom * (3 * C) + c
            vx = tl.load(v, mask=m, other=0.0) * scale
            vy = tl.load(v + C, mask=m, other=0.0) * scale
            vz = tl.load(v + 2 * C, mask=m, other=0.0) * scale
            projected = (vx * ux + vy * uy + vz * uz) / _ROOT3
            tl.store(dw + 2 * C, g_s * projected, mask=m)
            tl.store(dw + 3 * C, d_along * projected, mask=m)
            tl.store(dw + 4 * C, g_x * vx + g_y * vy + g_z * vz, mask=m)
            d_p = tl.load(w + 2 * C, mask=m, other=0.0).to(kind) * g_s
            d_p += tl.load(w + 3 * C, mask=m, other=0.0).to(kind) * d_along
            d_p = d_p * scale / _ROOT3
            own = tl.load(w + 4 * C, mask=m, other=0.0).to(kind) * scale
            tl.store(ds + C, d_p * ux + own * g_x, mask=m)
            tl.store(ds + 2 * C, d_p * uy + own * g_y, mask=m)
            tl.store(ds + 3 * C, d_p * uz + own * g_z, mask=m)
        first += BE
