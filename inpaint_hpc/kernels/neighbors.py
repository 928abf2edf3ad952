"""Periodic neighbours on a GPU: counted, then written, without the list of all candidates.

`inpaint_hpc.crystals.neighbors.neighbor_pairs` is the torch version, with the same order of edges.  One number (of
edges) is copied to the host for each list.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import launch

_CANDIDATES = 128


def neighbor_lists(
    receivers: torch.Tensor,
    receiver_cell: torch.Tensor,
    receiver_group: torch.Tensor,
    senders: torch.Tensor,
    first_sender: torch.Tensor,
    n_senders: torch.Tensor,
    inverse: torch.Tensor,
    cells: torch.Tensor,
    shifts: torch.Tensor,
    first_shift: torch.Tensor,
    n_shifts: torch.Tensor,
    cutoff: float,
    same: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Edges sorted by receiver.

    Args:
        receivers: positions in A, (R, 3); `receiver_cell`, `receiver_group` int64 (R,) their cell and group.
        senders: positions in A, (N, 3); a group's are `n_senders` rows from `first_sender` on, both int64 (G,).
        inverse, cells: float64 (B, 3, 3).
        shifts: lattice translations to try, int64 (M, 3); a cell's are `n_shifts` rows from `first_shift` on.
        cutoff: A.
        same: receivers and senders are the same rows; an atom is no neighbour of itself, only of its images.

    Returns:
        receiver (E,), sender (E,), vector (E, 3) in the dtype of `receivers`, shift int64 (E, 3), lengths int64 (R,).
    """
    n, device = len(receivers), receivers.device
    lengths = torch.zeros(n, dtype=torch.long, device=device)
    inputs = (
        receivers.contiguous(), receiver_cell, receiver_group, senders.contiguous(), first_sender, n_senders,
        inverse.contiguous(), cells.contiguous(), shifts.contiguous(), first_shift, n_shifts,
    )  # fmt: skip
    options = {"SAME": same, "BLOCK": _CANDIDATES, "num_warps": 4}
    # As a tensor: a number would arrive there in single precision.
    limit = torch.full((1,), float(cutoff) * float(cutoff), dtype=torch.float64, device=device)
    nothing = lengths
    if n:
        outputs = lengths, nothing, nothing, nothing, nothing, limit
        launch(_kernel, (n,), receivers, *inputs, *outputs, WRITE=False, **options)
    ends = torch.cumsum(lengths, 0)
    total = int(ends[-1]) if n else 0
    sender = torch.empty(total, dtype=torch.long, device=device)
    vector = torch.empty(total, 3, dtype=receivers.dtype, device=device)
    shift = torch.empty(total, 3, dtype=torch.long, device=device)
    if total:
        outputs = lengths, ends - lengths, sender, vector, shift, limit
        launch(_kernel, (n,), receivers, *inputs, *outputs, WRITE=True, **options)
    receiver = torch.repeat_interleave(torch.arange(n, device=device), lengths, output_size=total)
    return receiver, sender, vector, shift, lengths


@triton.jit
def _nearest(x):
    """Nearest whole number, halves to even, as torch.round."""
    up = tl.floor(x + 0.5)
    half = (up - x == 0.5) & (up - 2.0 * tl.floor(up * 0.5) != 0.0)
    return tl.where(half, up - 1.0, up)


@triton.jit
def _kernel(
    receivers, receiver_cell, receiver_group, senders, first_sender, n_senders,
    inverse, cells, shifts, first_shift, n_shifts, lengths, starts, sender_out, vector_out, shift_out, limit,
    SAME: tl.constexpr, WRITE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    receiver = tl.program_id(0).to(tl.int64)
    cell = tl.load(receiver_cell + receiver)
    group = tl.load(receiver_group + receiver)
    rx = tl.load(receivers + receiver * 3).to(tl.float64)
    ry = tl.load(receivers + receiver * 3 + 1).to(tl.float64)
    rz = tl.load(receivers + receiver * 3 + 2).to(tl.float64)
    i = inverse + cell * 9
    a = cells + cell * 9
    # Used as a divisor below: 64 bits would be many times slower, and no host has 2**31 candidates.
    images = tl.load(n_shifts + cell).to(tl.int32)
    first_image = tl.load(first_shift + cell)
    first = tl.load(first_sender + group)
    candidates = tl.load(n_senders + group).to(tl.int32) * images
    found = receiver * 0
    if WRITE:
        found = tl.load(starts + receiver)
    start = candidates * 0
    while start < candidates:
        k = start + tl.arange(0, BLOCK)
        there = k < candidates
        sender = first + k // images
        image = (first_image + k % images) * 3
        dx = tl.load(senders + sender * 3, mask=there, other=0.0).to(tl.float64) - rx
        dy = tl.load(senders + sender * 3 + 1, mask=there, other=0.0).to(tl.float64) - ry
        dz = tl.load(senders + sender * 3 + 2, mask=there, other=0.0).to(tl.float64) - rz
        fx = dx * tl.load(i) + dy * tl.load(i + 3) + dz * tl.load(i + 6)
        fy = dx * tl.load(i + 1) + dy * tl.load(i + 4) + dz * tl.load(i + 7)
        fz = dx * tl.load(i + 2) + dy * tl.load(i + 5) + dz * tl.load(i + 8)
        nx = tl.load(shifts + image, mask=there, other=0)
        ny = tl.load(shifts + image + 1, mask=there, other=0)
        nz = tl.load(shifts + image + 2, mask=there, other=0)
        bx, by, bz = -_nearest(fx), -_nearest(fy), -_nearest(fz)
        # The vector to the nearest image first and the translation after it, as in torch: the same rounding.
        fx, fy, fz = fx + bx, fy + by, fz + bz
        tx, ty, tz = nx.to(tl.float64), ny.to(tl.float64), nz.to(tl.float64)
        vx = (fx * tl.load(a) + fy * tl.load(a + 3) + fz * tl.load(a + 6)) + (
            tx * tl.load(a) + ty * tl.load(a + 3) + tz * tl.load(a + 6)
        )
        vy = (fx * tl.load(a + 1) + fy * tl.load(a + 4) + fz * tl.load(a + 7)) + (
            tx * tl.load(a + 1) + ty * tl.load(a + 4) + tz * tl.load(a + 7)
        )
        vz = (fx * tl.load(a + 2) + fy * tl.load(a + 5) + fz * tl.load(a + 8)) + (
            tx * tl.load(a + 2) + ty * tl.load(a + 5) + tz * tl.load(a + 8)
        )
        sx, sy, sz = bx.to(tl.int64) + nx, by.to(tl.int64) + ny, bz.to(tl.int64) + nz
        keep = there & (vx * vx + vy * vy + vz * vz <= tl.load(limit))
        if SAME:
            keep = keep & ((sender != receiver) | (sx != 0) | (sy != 0) | (sz != 0))
        if WRITE:
            place = found + tl.cumsum(keep.to(tl.int32), 0) - 1
            tl.store(sender_out + place, sender, mask=keep)
            tl.store(vector_out + place * 3, vx, mask=keep)
            tl.store(vector_out + place * 3 + 1, vy, mask=keep)
            tl.store(vector_out + place * 3 + 2, vz, mask=keep)
            tl.store(shift_out + place * 3, sx, mask=keep)
            tl.store(shift_out + place * 3 + 1, sy, mask=keep)
            tl.store(shift_out + place * 3 + 2, sz, mask=keep)
        found += tl.sum(keep.to(tl.int32), 0)
        start += BLOCK
    if not WRITE:
        tl.store(lengths + receiver, found)
