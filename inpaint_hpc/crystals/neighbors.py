"""Batched periodic neighbour lists in torch, on any device.

One dense function serves all uses: atoms of a batch of crystals among themselves, guests around host atoms,
guests of a sample among themselves.  pymatgen is the test oracle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inpaint_hpc.kernels.available import use_kernels

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
        n_senders: atoms that could have been senders, N.
        padded: the rows beyond `sum(lengths)` belong to no receiver; they are there to keep the size the same.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    vector: torch.Tensor
    shift: torch.Tensor
    lengths: torch.Tensor
    n_senders: int
    padded: bool = False

    def __len__(self) -> int:
        return self.receiver.shape[0]


def ragged_arange(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For counts (n,): row index and position within the row of each of the sum(counts) elements."""
    row = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    start = torch.cumsum(counts, 0) - counts
    return row, torch.arange(row.shape[0], device=counts.device) - start[row]


def rows_times(rows: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Row vectors (n, 3) times matrices (n, 3, 3), to the same bits on both paths."""
    if rows.is_cuda:
        # A batched product of such small matrices takes a GPU many times as long as reading them.
        x, y, z = rows[:, 0:1], rows[:, 1:2], rows[:, 2:3]
        return x * matrices[:, 0] + y * matrices[:, 1] + z * matrices[:, 2]
    return (rows[:, None, :] @ matrices)[:, 0]


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
    length = rows_times(shifts.to(cells.dtype), cells[row]).norm(dim=-1)
    keep = length <= (reach + half_diagonal)[row] + 1e-9
    return shifts[keep], torch.bincount(row[keep], minlength=len(cells))


def _diagonals(cells: torch.Tensor) -> torch.Tensor:
    signs = torch.tensor([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]], dtype=cells.dtype, device=cells.device)
    return torch.einsum("ik,bkj->bij", signs, cells)


@dataclass(frozen=True)
class PeriodicImages:
    """Data of B cells for neighbour searches; the same for every search in them.

    Attributes:
        cutoff: A.
        cells, inverse: float64 (B, 3, 3), A and 1/A.
        shifts: lattice translations to try, int64 (M, 3), grouped by cell; translations: the same in A, (M, 3).
        first, counts: first row of each cell in these, and number of its rows, int64 (B,).
    """

    cutoff: float
    cells: torch.Tensor
    inverse: torch.Tensor
    shifts: torch.Tensor
    translations: torch.Tensor
    first: torch.Tensor
    counts: torch.Tensor


@torch.no_grad()
def periodic_images(cells: torch.Tensor, cutoff: float) -> PeriodicImages:
    """The images to search for neighbours within `cutoff` (A) in cells (B, 3, 3), rows a, b, c in A."""
    cells64 = cells.double()
    reach = torch.full((len(cells),), float(cutoff), dtype=torch.float64, device=cells.device)
    shifts, counts = image_shifts(cells64, reach)
    translations = rows_times(shifts.double(), torch.repeat_interleave(cells64, counts, 0, output_size=len(shifts)))
    first = torch.cumsum(counts, 0) - counts
    return PeriodicImages(float(cutoff), cells64, torch.linalg.inv(cells64), shifts, translations, first, counts)


@torch.no_grad()
def neighbor_pairs(
    receivers: torch.Tensor,
    receiver_group: torch.Tensor,
    senders: torch.Tensor,
    sender_group: torch.Tensor,
    images: PeriodicImages,
    cell: torch.Tensor | None = None,
    same: bool = False,
) -> Neighbors:
    """All periodic images of senders within a cutoff of receivers of the same group.

    Args:
        receivers: positions (R, 3) in A, wrapped or not; `receiver_group` int64 (R,) the group of each.
        senders: positions (N, 3) in A; `sender_group` int64 (N,), non-decreasing.
        images: cells and cutoff, of `periodic_images`.
        cell: cell of each group, int64 (G,); None if group g is in cell g.
        same: receivers and senders are the same atoms; an atom is then no neighbour of itself,
            though its own periodic images are.
    """
    n_groups = len(images.cells) if cell is None else len(cell)
    n_senders = torch.bincount(sender_group, minlength=n_groups)
    first_sender = torch.cumsum(n_senders, 0) - n_senders
    receiver_cell = receiver_group if cell is None else cell[receiver_group]
    if use_kernels(receivers):
        from inpaint_hpc.kernels.neighbors import neighbor_lists

        found = neighbor_lists(
            receivers, receiver_cell, receiver_group, senders, first_sender, n_senders,
            images.inverse, images.cells, images.shifts, images.first, images.counts, images.cutoff, same,
        )  # fmt: skip
        return Neighbors(*found, len(senders))

    cutoff = images.cutoff
    parts = []
    for rows in _chunks(n_senders[receiver_group] * images.counts[receiver_cell]):
        group_of_row = receiver_group[rows]
        pair_row, k = ragged_arange(n_senders[group_of_row])
        receiver = rows[pair_row]
        pair_cell = receiver_cell[receiver]
        sender = first_sender[group_of_row[pair_row]] + k
        delta = senders[sender].double() - receivers[receiver].double()
        frac = rows_times(delta, images.inverse[pair_cell])
        nearest = -torch.round(frac)
        base = rows_times(frac + nearest, images.cells[pair_cell])
        pair, image = ragged_arange(images.counts[pair_cell])
        image = images.first[pair_cell[pair]] + image
        vector = base[pair] + images.translations[image]
        keep = (vector * vector).sum(1) <= cutoff * cutoff
        pair, image, vector = pair[keep], image[keep], vector[keep]
        shift = nearest.long()[pair] + images.shifts[image]
        receiver, sender = receiver[pair], sender[pair]
        if same:
            other = (receiver != sender) | (shift != 0).any(1)
            receiver, sender, vector, shift = receiver[other], sender[other], vector[other], shift[other]
        parts.append((receiver, sender, vector.to(receivers.dtype), shift))
    receiver, sender, vector, shift = (torch.cat(x) for x in zip(*parts, strict=True))
    return Neighbors(receiver, sender, vector, shift, torch.bincount(receiver, minlength=len(receivers)), len(senders))


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
    return neighbor_pairs(x, index, x, index, periodic_images(crystals.cells, cutoff), same=True)
