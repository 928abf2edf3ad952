"""Triton kernel of `rows`; imported only where kernels run."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .launch import launch


def launch_sum(values: Tensor, order: Tensor | None, start: Tensor, out: Tensor) -> None:
    """Write the sums of segments of `values` (E, w), contiguous, to `out` (n, w)."""
    n, width = out.shape
    columns = min(triton.next_power_of_2(width), 128)
    # One warp reads several rows at a time, because a single one in flight would leave it waiting for memory.
    rows = 8 if columns >= 32 else 32
    has_order = order is not None
    grid = (n, triton.cdiv(width, columns))
    inputs = values, order if has_order else start, start
    launch(_sum, grid, values, *inputs, out, width, has_order, rows, columns, num_warps=1)


@triton.jit
def _sum(values, order, start, out, width, HAS_ORDER: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    within = column < width
    row = tl.arange(0, ROWS)
    first = tl.load(start + segment)
    last = tl.load(start + segment + 1)
    total = tl.zeros([ROWS, COLUMNS], dtype=values.dtype.element_ty)
    while first < last:
        element = first + row
        inside = element < last
        if HAS_ORDER:
            element = tl.load(order + element, mask=inside, other=0)
        place = element[:, None] * width + column[None, :]
        total += tl.load(values + place, mask=inside[:, None] & within[None, :], other=0.0)
        first += ROWS
    tl.store(out + segment * width + column, tl.sum(total, axis=0), mask=within)
