"""The score of the wrapped normal against a brute-force lattice sum and a numerical gradient."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice

from inpaint_hpc.training.wrapped_normal import scaled_score


def cells_of(n, seed, low=2.5, high=8.0):
    rng = np.random.default_rng(seed)
    cells = []
    while len(cells) < n:
        lattice = Lattice.from_parameters(*rng.uniform(low, high, 3), *rng.uniform(60, 120, 3))
        if np.isfinite(lattice.matrix).all() and lattice.volume > 10:
            cells.append(lattice.matrix)
    return torch.tensor(np.array(cells))


def brute_force(d, sigma, cells, images=14):
    n = torch.arange(-images, images + 1, dtype=torch.float64)
    shifts = torch.cartesian_prod(n, n, n)
    result = []
    for x, s, cell in zip(d, sigma, cells, strict=True):
        image = x + shifts @ cell
        weight = torch.softmax(-(image**2).sum(1) / (2 * s**2), 0)
        result.append(-(weight[:, None] * image).sum(0) / s)
    return torch.stack(result)


@pytest.mark.parametrize("sigma", [0.03, 0.3, 0.8, 1.5, 2.5, 3.5])
def test_score_equals_the_brute_force_sum_over_images(sigma):
    cells = cells_of(12, seed=1)
    rng = torch.Generator().manual_seed(0)
    level = torch.full((12,), sigma, dtype=torch.float64)
    d = sigma * torch.randn(12, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(scaled_score(d, level, cells), brute_force(d, level, cells), atol=1e-6, rtol=1e-6)


def log_density(displacement: torch.Tensor, sigma: torch.Tensor, cells: torch.Tensor, images: int = 6) -> torch.Tensor:
    """Log of the unnormalised density by a plain sum over (2 images + 1)^3 cells, (G,): the slow oracle."""
    n = torch.arange(-images, images + 1, device=displacement.device, dtype=torch.float64)
    shifts = torch.cartesian_prod(n, n, n)
    image = displacement.double()[:, None] + torch.einsum("lk,gkj->glj", shifts, cells.double())
    return torch.logsumexp(-(image**2).sum(-1) / (2 * sigma.double()[:, None] ** 2), 1)


def test_score_is_the_gradient_of_the_log_density():
    cells = cells_of(10, seed=2, low=4.0)
    sigma = torch.tensor(np.geomspace(0.1, 2.0, 10))
    d = (sigma[:, None] * torch.randn(10, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).clone()
    step = 1e-4
    gradient = torch.zeros_like(d)
    for axis in range(3):
        move = torch.zeros(3, dtype=torch.float64)
        move[axis] = step
        gradient[:, axis] = (log_density(d + move, sigma, cells) - log_density(d - move, sigma, cells)) / (2 * step)
    torch.testing.assert_close(scaled_score(d, sigma, cells), sigma[:, None] * gradient, atol=1e-5, rtol=1e-5)


def test_small_noise_is_a_plain_normal():
    cells = cells_of(5, seed=3)
    d = 0.05 * torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sigma = torch.full((5,), 0.05, dtype=torch.float64)
    torch.testing.assert_close(scaled_score(d, sigma, cells), -d / 0.05, atol=1e-9, rtol=0)


def test_any_image_of_the_displacement_gives_the_same_score():
    cells = cells_of(5, seed=4)
    d = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    n = torch.tensor([[1.0, -2, 0], [0, 0, 3], [5, 1, 1], [-1, 0, 0], [2, 2, -2]], dtype=torch.float64)
    for s in (0.2, 3.0):
        sigma = torch.full((5,), s, dtype=torch.float64)
        moved = d + torch.einsum("gk,gkj->gj", n, cells)
        torch.testing.assert_close(
            scaled_score(moved, sigma, cells), scaled_score(d, sigma, cells), atol=1e-9, rtol=1e-9
        )


def test_noise_as_large_as_the_cell_has_no_score():
    cells = torch.eye(3, dtype=torch.float64)[None] * 3.0
    sigma = torch.tensor([3.5], dtype=torch.float64)
    assert scaled_score(torch.tensor([[0.7, 0.3, -1.0]]).double(), sigma, cells).abs().max() < 1e-9


def test_long_thin_cells_keep_their_digits():
    """In a 3 x 3 x 40 A cell the long direction is far from uniform while the short ones are."""
    cells = torch.diag(torch.tensor([3.0, 3.0, 40.0], dtype=torch.float64))[None]
    sigma = torch.tensor([2.0], dtype=torch.float64)
    d = torch.tensor([[1.0, -0.5, 15.0]], dtype=torch.float64)
    result = scaled_score(d, sigma, cells)[0]
    assert result[2].item() == pytest.approx(-15.0 / 2.0, abs=1e-3)
    assert result[:2].abs().max() < 2e-3
