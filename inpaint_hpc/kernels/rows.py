"""Rows of a table taken by an index, and rows with equal index summed: each is the other's derivative.

On CUDA neither uses atomics, whose order varies between runs, so the same input gives the same bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inpaint_hpc.kernels.available import use_kernels


class Rows:
    """A reusable index of rows; what sums on CUDA need from it is computed once.

    Args:
        index: row of the table of each of E elements, int64 (E,).
        n: rows of the table.
        lengths: how often each row occurs, int64 (n,), for an index that is non-decreasing.
        padded: elements beyond `sum(lengths)` belong to no row; only kernels leave them out of sums.
    """

    def __init__(self, index: Tensor, n: int, lengths: Tensor | None = None, padded: bool = False) -> None:
        self.index, self.n, self.lengths, self.padded = index, n, lengths, padded
        self._segments: tuple[Tensor | None, Tensor] | None = None

    def gather(self, table: Tensor) -> Tensor:
        """Rows of a table (n, ...) by the index, (E, ...)."""
        if _atomics_are_safe(table):
            return table.index_select(0, self.index)
        return _Gather.apply(table, self)

    def sum(self, values: Tensor) -> Tensor:
        """Sums of the values (E, ...) with equal index, (n, ...)."""
        if not _atomics_are_safe(values):
            return _Sum.apply(values, self)
        if self.lengths is None:
            return _IndexAdd.apply(values, self.index, self.n)
        if len(values) == 0:
            return values.new_zeros(self.n, *values.shape[1:])
        # `unsafe`: skips a check of the lengths, which would wait for the device.
        return torch.segment_reduce(values, "sum", lengths=self.lengths, axis=0, unsafe=True, initial=0.0)

    def add(self, target: Tensor, values: Tensor) -> Tensor:
        """A target (n, ...) plus the sums of the values (E, ...); without derivatives."""
        if _atomics_are_safe(values):
            return target.index_add(0, self.index, values)
        return target + self.sum(values)

    def segments(self) -> tuple[Tensor | None, Tensor]:
        """Elements in the order of their rows, (E,), or None where they are in it already; and the place of each row's
        first element in that order, with E at the end, int64 (n + 1,)."""
        if self._segments is None:
            if self.lengths is not None:
                start = torch.zeros(self.n + 1, dtype=torch.long, device=self.index.device)
                torch.cumsum(self.lengths, 0, out=start[1:])
                self._segments = None, start
            else:
                # Half as many digits to sort; a search, unlike `bincount`, does not wait for the device.
                ordered, order = torch.sort(self.index.int(), stable=True)
                rows = torch.arange(self.n + 1, dtype=torch.int32, device=ordered.device)
                self._segments = order, torch.searchsorted(ordered, rows)
        return self._segments


def sum_segments(values: Tensor, order: Tensor | None, start: Tensor) -> Tensor:
    """Sums (n, ...) of `values[order[start[r] : start[r + 1]]]`, in an order that is always the same.

    `values` (E, ...) of any float type, in which the sums are added up; `order` (E,) or None; `start` int64 (n + 1,).
    """
    n, width = len(start) - 1, math.prod(values.shape[1:])
    if n == 0 or len(values) == 0 or width == 0:
        return values.new_zeros(n, *values.shape[1:])
    values = values.contiguous()
    if not use_kernels(values):
        values = values if order is None else values.index_select(0, order)
        return torch.segment_reduce(values, "sum", lengths=start.diff(), axis=0, unsafe=True, initial=0.0)
    from inpaint_hpc.kernels.rows_triton import launch_sum

    out = values.new_empty(n, *values.shape[1:])
    launch_sum(values.view(-1, width), order, start, out.view(n, width))
    return out


def _atomics_are_safe(tensor: Tensor) -> bool:
    """On CPUs torch's own operations keep the order of additions."""
    return not tensor.is_cuda and not use_kernels(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return table.index_select(0, rows.index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return sum_segments(grad, *ctx.rows.segments()), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return sum_segments(values, *rows.segments())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.rows.index), None


class _IndexAdd(torch.autograd.Function):
    # torch's `index_add` keeps its source for the backward pass, only to learn its shape.
    @staticmethod
    def forward(ctx, values: Tensor, index: Tensor, n: int) -> Tensor:
        ctx.save_for_backward(index)
        return values.new_zeros(n, *values.shape[1:]).index_add_(0, index, values)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index), None, None
