"""Batched periodic neighbour lists in torch, on any device.

One dense function serves all uses: atoms of a batch of crystals among themselves, guests around host atoms,
guests of a sample among themselves.  pymatgen is the test oracle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .batch import Crystals

# Candidate (pair, image) rows held in memory at a time; 4M rows of float64 vectors are about 0.3 GB with temporaries.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Neighbors:
    """Edges sorted by receiver.

    Attributes:
        receiver, sender: int64 (E,), rows of the receivers' and senders' position tensors.
        vector: sender image minus receiver in A, (E, 3), dtype of the positions.
        shift: lattice translation (in cell vectors) of the sender as stored, int64 (E, 3):
            `vector = sender + shift @ cell - receiver` also for positions outside the cell.
        lengths: number of edges of each receiver, int64 (R,).
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    vector: torch.Tensor
    shift: torch.Tensor
    lengths: torch.Tensor

    def __len__(self) -> int:
        return self.receiver.shape[0]


def ragged_arange(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For counts (n,): row index and position within the row of each of the sum(counts) elements."""
    row = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    start = torch.cumsum(counts, 0) - counts
    return row, torch.arange(row.shape[0], device=counts.device) - start[row]


def image_shifts(cells: torch.Tensor, reach: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lattice translations n with |n + f| possibly within `reach` for some f in [-1/2, 1/2]^3.

    Args:
        cells: float64 (B, 3, 3), rows a, b, c in A.
        reach: float64 (B,), A.

    Returns:
        shifts int64 (sum_b n_b, 3), grouped by cell, and counts n_b int64 (B,).
    """
    plane_density = torch.linalg.inv(cells).norm(dim=1)  # 1/A: reciprocal vectors are columns of the inverse
    extent = torch.floor(reach[:, None] * plane_density + 0.5 + 1e-9).long()
    spans = 2 * extent + 1
    row, k = ragged_arange(spans.prod(1))
    nc, nb = spans[row, 2], spans[row, 1]
    shifts = torch.stack([k // (nb * nc), (k // nc) % nb, k % nc], 1) - extent[row]
    # Prune the corners of the box: f moves a point by at most half the cell's longest diagonal.
    half_diagonal = 0.5 * _diagonals(cells).norm(dim=-1).amax(1)
    length = (shifts.to(cells.dtype)[:, None, :] @ cells[row])[:, 0].norm(dim=-1)
    keep = length <= (reach + half_diagonal)[row] + 1e-9
    return shifts[keep], torch.bincount(row[keep], minlength=len(cells))


def _diagonals(cells: torch.Tensor) -> torch.Tensor:
    signs = torch.tensor([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]], dtype=cells.dtype, device=cells.device)
    return torch.einsum("ik,bkj->bij", signs, cells)


@torch.no_grad()
def neighbor_pairs(
    receivers: torch.Tensor,
    receiver_cell: torch.Tensor,
    senders: torch.Tensor,
    sender_cell: torch.Tensor,
    cells: torch.Tensor,
    cutoff: float,
    same: bool = False,
) -> Neighbors:
    """All periodic images of senders within a cutoff of receivers in the same cell.

    Args:
        receivers: positions (R, 3) in A, wrapped or not; `receiver_cell` int64 (R,) their row of `cells`.
        senders: positions (N, 3) in A; `sender_cell` int64 (N,), non-decreasing.
        cells: (B, 3, 3), rows a, b, c in A.
        cutoff: A.
        same: receivers and senders are the same atoms; an atom is then no neighbour of itself,
            though its own periodic images are.
    """
    device, dtype = receivers.device, receivers.dtype
    cells64, inverse = cells.double(), torch.linalg.inv(cells.double())
    shifts, n_shifts = image_shifts(cells64, torch.full((len(cells),), float(cutoff), device=device).double())
    first_shift = torch.cumsum(n_shifts, 0) - n_shifts
    n_senders = torch.bincount(sender_cell, minlength=len(cells))
    first_sender = torch.cumsum(n_senders, 0) - n_senders
    per_receiver = n_senders[receiver_cell] * n_shifts[receiver_cell]

    parts = []
    for rows in _chunks(per_receiver):
        cell_of_row = receiver_cell[rows]
        pair_row, k = ragged_arange(n_senders[cell_of_row])
        receiver = rows[pair_row]
        pair_cell = cell_of_row[pair_row]
        sender = first_sender[pair_cell] + k
        delta = senders[sender].double() - receivers[receiver].double()
        frac = (delta[:, None, :] @ inverse[pair_cell])[:, 0]
        nearest = -torch.round(frac)
        base = ((frac + nearest)[:, None, :] @ cells64[pair_cell])[:, 0]
        pair, image = ragged_arange(n_shifts[pair_cell])
        translations = torch.repeat_interleave(cells64, n_shifts, 0)
        translations = (shifts.double()[:, None, :] @ translations)[:, 0]
        image = first_shift[pair_cell[pair]] + image
        vector = base[pair] + translations[image]
        keep = (vector * vector).sum(1) <= cutoff * cutoff
        pair, image, vector = pair[keep], image[keep], vector[keep]
        shift = nearest.long()[pair] + shifts[image]
        receiver, sender = receiver[pair], sender[pair]
        if same:
            other = (receiver != sender) | (shift != 0).any(1)
            receiver, sender, vector, shift = receiver[other], sender[other], vector[other], shift[other]
        parts.append((receiver, sender, vector.to(dtype), shift))
    receiver, sender, vector, shift = (torch.cat(x) for x in zip(*parts, strict=True))
    return Neighbors(receiver, sender, vector, shift, torch.bincount(receiver, minlength=len(receivers)))


def _chunks(rows_per_receiver: torch.Tensor) -> list[torch.Tensor]:
    """Receivers in runs of at most `_CHUNK` candidate rows (at least one receiver each)."""
    everyone = torch.arange(len(rows_per_receiver), device=rows_per_receiver.device)
    if int(rows_per_receiver.sum()) <= _CHUNK:
        return [everyone]
    block = torch.div(torch.cumsum(rows_per_receiver, 0), _CHUNK, rounding_mode="floor")
    return [everyone[block == b] for b in torch.unique(block)]


def crystal_neighbors(crystals: Crystals, cutoff: float) -> Neighbors:
    """Neighbours within each crystal of a batch, periodic images of an atom itself included."""
    x, index = crystals.positions, crystals.crystal
    return neighbor_pairs(x, index, x, index, crystals.cells, cutoff, same=True)
