"""CHGNet's gated MLP in one Triton kernel per direction; `scoring/chgnet/gated_mlp` holds the torch version.

Of every row only the input is read and only the output written: the intermediates that torch would write, over ten
times as much, stay in registers.  The backward pass recomputes them.  Imported only where kernels run.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gated_mlp_weights import GatedWeights
from .launch import launch

# Three products on tensor cores that together have the digits of float32; 'ieee' is the slow alternative.
PRECISION = "tf32x3"
WIDTHS = (16, 32, 64, 128)
# Rows and warps of a program: as many rows as fit in the registers at width 64.
FORWARD, BACKWARD, WITHOUT_PRODUCTS = (128, 8), (32, 8), (32, 4)


def suits(hidden: Tensor, weights: GatedWeights) -> bool:
    """Whether the kernels support this input (r, 2 d) and these weights; all published CHGNets are supported."""
    return hidden.dtype == torch.float32 and hidden.shape[1] // 2 in WIDTHS and weights.scale is not None


def forward(hidden: Tensor, factor: Tensor | None, weights: GatedWeights, eps: float) -> Tensor:
    """The output (r, d) of the gated MLP from the output of its first linear map (r, 2 d), both float32 and contiguous,
    times a factor (f, d) that is repeated r / f times, or None."""
    out = hidden.new_empty(len(hidden), hidden.shape[1] // 2)
    if len(hidden):
        grid, options = _launch(len(hidden), out.shape[1], factor, weights, FORWARD)
        rows = len(hidden), len(hidden) if factor is None else len(factor)
        launch(_forward, grid, hidden, hidden, factor, out, *_tensors(weights), *rows, eps, **options)
    return out


def backward(
    grad: Tensor, hidden: Tensor, factor: Tensor | None, weights: GatedWeights, eps: float
) -> tuple[Tensor, Tensor | None]:
    """Gradients of `hidden` and of `factor` (None without one) from that of the output (r, d)."""
    by_hidden = torch.empty_like(hidden)
    by_factor = None if factor is None else torch.zeros_like(factor)
    rows = max(1, len(hidden) if factor is None else len(factor))
    grid, options = _launch(rows, grad.shape[1], factor, weights, BACKWARD)
    # Repeats of the factor add to its gradient one after another, for a fixed order without atomics.
    for part in zip(grad.split(rows), hidden.split(rows), by_hidden.split(rows), strict=True):
        if len(hidden):
            launch(_backward, grid, hidden, *part, factor, by_factor, *_tensors(weights), rows, eps, **options)
    return by_hidden, by_factor


def _tensors(weights: GatedWeights) -> tuple[Tensor | None, ...]:
    return weights.core, weights.gate, weights.core_bias, weights.gate_bias, weights.scale, weights.shift


def _launch(n: int, width: int, factor: Tensor | None, weights: GatedWeights, tile: tuple[int, int]):
    """Grid and options of a kernel for n rows."""
    rows, warps = tile if weights.core is not None else WITHOUT_PRODUCTS
    options = {
        "HAS_FACTOR": factor is not None,
        "HAS_SECOND": weights.core is not None,
        "WIDTH": width,
        "ROWS": rows,
        "PRECISION": PRECISION,
        "num_warps": warps,
    }
    return (triton.cdiv(n, rows),), options


@triton.jit
def _matrix(matrix, WIDTH: tl.constexpr):
    column = tl.arange(0, WIDTH)
    return tl.load(matrix + column[:, None] * WIDTH + column[None, :])


@triton.jit
def _half(
    place, inside, matrix, bias, eps,
    HAS_SECOND: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Core or gate after its second linear map and the normalisation, and one over the norm of each row, (rows, 1)."""
    x = tl.load(place, mask=inside, other=0.0)
    if HAS_SECOND:
        x = tl.dot(x * tl.sigmoid(x), _matrix(matrix, WIDTH), input_precision=PRECISION)
        x += tl.load(bias + tl.arange(0, WIDTH))[None, :]
    inverse = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
    return x * inverse, inverse


@triton.jit
def _affine(x, scale, shift, WIDTH: tl.constexpr):
    column = tl.arange(0, WIDTH)
    return x * tl.load(scale + column)[None, :] + tl.load(shift + column)[None, :]


@triton.jit
def _half_backward(
    grad, x, inverse, place, target, inside, matrix, scale,
    HAS_SECOND: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From the gradient by what `_affine` gives to that by the input of `_half`, which is written to `target`."""
    grad = grad * tl.load(scale + tl.arange(0, WIDTH))[None, :]
    grad = (grad - x * (tl.sum(grad * x, axis=1) / WIDTH)[:, None]) * inverse
    if HAS_SECOND:
        grad = tl.dot(grad, tl.trans(_matrix(matrix, WIDTH)), input_precision=PRECISION)
        # Read again, from the cache: registers are scarcer.
        hidden = tl.load(place, mask=inside, other=0.0)
        active = tl.sigmoid(hidden)
        grad = grad * active * (1.0 + hidden * (1.0 - active))
    tl.store(target, grad, mask=inside)


@triton.jit
def _forward(
    hidden, factor, out, core, gate, core_bias, gate_bias, scale, shift, n, n_factor, eps,
    HAS_FACTOR: tl.constexpr, HAS_SECOND: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < n)[:, None]
    place = hidden + row[:, None] * (2 * WIDTH) + column
    x, _ = _half(place, inside, core, core_bias, eps, HAS_SECOND, WIDTH, PRECISION)
    x = _affine(x, scale, shift, WIDTH)
    result = x * tl.sigmoid(x)
    x, _ = _half(place + WIDTH, inside, gate, gate_bias, eps, HAS_SECOND, WIDTH, PRECISION)
    result = result * tl.sigmoid(_affine(x, scale + WIDTH, shift + WIDTH, WIDTH))
    if HAS_FACTOR:
        result = result * tl.load(factor + (row % n_factor)[:, None] * WIDTH + column, mask=inside, other=0.0)
    tl.store(out + row[:, None] * WIDTH + column, result, mask=inside)


@triton.jit
def _backward(
    grad, hidden, by_hidden, factor, by_factor, core, gate, core_bias, gate_bias, scale, shift, n, eps,
    HAS_FACTOR: tl.constexpr, HAS_SECOND: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = row < n
    single = row * WIDTH + column
    double = row * (2 * WIDTH) + column
    place, target = hidden + double, by_hidden + double
    x, x_inverse = _half(place, inside, core, core_bias, eps, HAS_SECOND, WIDTH, PRECISION)
    y, y_inverse = _half(place + WIDTH, inside, gate, gate_bias, eps, HAS_SECOND, WIDTH, PRECISION)
    before = _affine(x, scale, shift, WIDTH)
    active = tl.sigmoid(before)
    opening = tl.sigmoid(_affine(y, scale + WIDTH, shift + WIDTH, WIDTH))
    by_core = tl.load(grad + single, mask=inside, other=0.0) * opening
    if HAS_FACTOR:
        total = tl.load(by_factor + single, mask=inside, other=0.0) + by_core * before * active
        tl.store(by_factor + single, total, mask=inside)
        by_core = by_core * tl.load(factor + single, mask=inside, other=0.0)
    by_gate = by_core * before * active * (1.0 - opening)
    by_core = by_core * active * (1.0 + before * (1.0 - active))
    _half_backward(
        by_core, x, x_inverse, place, target, inside, core, scale,
        HAS_SECOND, WIDTH, PRECISION,
    )  # fmt: skip
    _half_backward(
        by_gate, y, y_inverse, place + WIDTH, target + WIDTH, inside, gate, scale + WIDTH,
        HAS_SECOND, WIDTH, PRECISION,
    )  # fmt: skip
