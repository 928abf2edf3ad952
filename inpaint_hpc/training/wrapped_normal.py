"""The normal distribution wrapped onto the torus of a crystal's cell.

p(d; sigma) = sum over lattice vectors L of exp(-|d + L|^2 / 2 sigma^2), unnormalised.  Its score is the exact target of
denoising score matching on periodic positions (Song et al., ICLR 2021, for the variance-exploding SDE; Jing et al.,
NeurIPS 2022, for the torus).  It vanishes by itself once sigma reaches the cell: there p is uniform.
"""

from __future__ import annotations

import torch

from inpaint_hpc.crystals.neighbors import image_shifts, ragged_arange, rows_times
from inpaint_hpc.kernels.rows import Rows

# Terms beyond this many standard deviations weigh less than exp(-18) = 1.5e-8 of the largest one.
_TAIL = 6.0
# The Fourier series converges fast for cells not longer than this many sigma, and loses no digits there:
# the density varies by less than a factor of 20 over the cell.
_FOURIER_LIMIT = 5.0


def scaled_score(displacement: torch.Tensor, sigma: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """sigma times the score of the wrapped normal, dimensionless.

    Args:
        displacement: noised minus clean position in A, (G, 3); any periodic image will do.
        sigma: standard deviation in A, (G,).
        cells: cell of each row, (G, 3, 3), rows a, b, c in A.

    Returns:
        (G, 3) in the dtype of `displacement`; -displacement / sigma where sigma is small against the cell.
    """
    d, s, c = displacement.double(), sigma.double(), cells.double()
    frac = rows_times(d, torch.linalg.inv(c))
    nearest = rows_times(frac - torch.round(frac), c)
    fourier = c.norm(dim=-1).amax(1) <= _FOURIER_LIMIT * s
    result = torch.empty_like(d)
    for chosen, method in ((fourier, _fourier_sum), (~fourier, _lattice_sum)):
        rows = chosen.nonzero()[:, 0]
        if len(rows):
            result[rows] = method(nearest[rows], s[rows], c[rows])
    return result.to(displacement.dtype)


def _lattice_sum(d: torch.Tensor, sigma: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    # |d| bounds the distance to the nearest image from above, so the ball |d| + 6 sigma holds all that matters.
    shifts, counts = image_shifts(cells, d.norm(dim=1) + _TAIL * sigma)
    row, _ = ragged_arange(counts)
    image = d[row] + rows_times(shifts.double(), cells[row])
    log_weight = -(image * image).sum(1) / (2 * sigma[row] ** 2)
    largest = torch.full_like(sigma, -torch.inf).scatter_reduce(0, row, log_weight, "amax")
    weight = torch.exp(log_weight - largest[row])
    images = Rows(row, len(sigma), counts)
    mean = images.sum(weight[:, None] * image) / images.sum(weight)[:, None]
    return -mean / sigma[:, None]


def _fourier_sum(d: torch.Tensor, sigma: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    # Poisson summation: p is proportional to sum over G of exp(-sigma^2 G^2 / 2) cos(G . d).
    reciprocal = 2 * torch.pi * torch.linalg.inv(cells).transpose(1, 2)
    orders, counts = image_shifts(reciprocal, _TAIL / sigma)
    row, _ = ragged_arange(counts)
    wave = rows_times(orders.double(), reciprocal[row])
    weight = torch.exp(-0.5 * (wave * wave).sum(1) * sigma[row] ** 2)
    phase = (wave * d[row]).sum(1)
    waves = Rows(row, len(sigma), counts)
    density = waves.sum(weight * torch.cos(phase))
    gradient = waves.sum(-(weight * torch.sin(phase))[:, None] * wave)
    return sigma[:, None] * gradient / density[:, None]
