"""Samplers: single steps against closed forms, and what whole runs draw against known distributions on the torus."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from analytic_networks import SiteNetwork
from scipy import stats

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.counter_rng import CounterRng, Purpose, task_key
from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample
from inpaint_hpc.sampling.samplers import LARGE_SCORE, Ancestral, DpmSolver, Heun, PredictorCorrector, langevin_step

CELL = np.diag([5.0, 6.0, 5.5])
HOST = Crystal([8, 8, 26], [[0.1, 0.2, 0.3], [0.6, 0.1, 0.8], [0.4, 0.7, 0.2]], CELL, "three sites")
WEIGHTS = {8: 0.25, 26: 0.5}


def normal_score(width: float):
    """sigma * score of a normal distribution of standard deviation `width` around the origin of open space."""
    return lambda x, sigma: -sigma * x / (width**2 + sigma**2)


def noise_source(n: int):
    rng = CounterRng(torch.tensor([task_key("samplers", 0)]), torch.zeros(1, dtype=torch.long))
    calls = []

    def noise(purpose: Purpose) -> torch.Tensor:
        calls.append(purpose)
        rows = torch.arange(n)
        return rng.normal(torch.zeros_like(rows), len(calls), purpose, rows)

    noise.calls = calls
    return noise


def test_ancestral_step_is_the_posterior_of_a_known_clean_position():
    x, z = torch.tensor([[0.5, -1.0, 2.0]]).double(), torch.tensor([[1.0, -2.0, 0.5]]).double()
    result = Ancestral().step(x, 2.0, 0.5, normal_score(0.0), lambda purpose: z)
    # q(x' | x, x0 = 0) of a Gaussian chain: mean x s'^2 / s^2, variance s'^2 (s^2 - s'^2) / s^2.
    expected = x * 0.25 / 4.0 + z * math.sqrt(0.25 * (4.0 - 0.25) / 4.0)
    assert torch.allclose(result, expected, rtol=0, atol=1e-14)


def test_ancestral_noise_factor_and_quiet_end():
    x, z = torch.zeros(1, 3).double(), torch.ones(1, 3).double()
    full = Ancestral().step(x, 1.0, 0.5, normal_score(0.0), lambda purpose: z)
    half = Ancestral(noise=0.5).step(x, 1.0, 0.5, normal_score(0.0), lambda purpose: z)
    assert torch.allclose(half, 0.5 * full) and float(full[0, 0]) > 0.4
    quiet = Ancestral(quiet_below=0.4)
    assert torch.equal(quiet.step(x, 1.0, 0.5, normal_score(0.0), lambda purpose: z), full)
    noise = noise_source(1)
    assert torch.equal(quiet.step(x, 1.0, 0.3, normal_score(0.0), noise), x) and noise.calls == []


def test_heun_is_of_second_order():
    width, x = 0.5, torch.tensor([[1.0, -2.0, 0.3]]).double()
    exact = x * math.sqrt((width**2 + 0.1**2) / (width**2 + 2.0**2))
    errors = []
    for steps in (10, 20, 40):
        levels = np.geomspace(2.0, 0.1, steps + 1)
        y = x
        for high, low in pairwise(levels):
            y = Heun().step(y, high, low, normal_score(width), noise_source(1))
        errors.append(float((y - exact).abs().max()))
    assert errors[0] < 0.05
    assert 3.5 < errors[0] / errors[1] < 4.6 and 3.5 < errors[1] / errors[2] < 4.6


def moments_of_a_run(make, steps: int, width: float) -> tuple[float, float]:
    """Mean and variance at 0.1 A that a sampler draws from x = 1 at 2 A; the score is linear, so by its response to
    each number of noise alone."""
    levels = np.geomspace(2.0, 0.1, steps + 1)

    def run(start: float, loud: int) -> float:
        x, sampler = torch.full((1, 3), start).double(), make()
        for step, (high, low) in enumerate(pairwise(levels)):
            z = torch.full((1, 3), float(step == loud)).double()
            x = sampler.step(x, high, low, normal_score(width), lambda purpose, z=z: z)
        return float(x[0, 0])

    return run(1.0, -1), sum(run(0.0, step) ** 2 for step in range(steps))


def test_dpm_solver_is_of_second_order_where_ancestral_is_of_first():
    width = 0.5
    shrink = (width**2 + 0.1**2) / (width**2 + 2.0**2)
    variance = (width**2 + 0.1**2) * (1.0 - shrink)  # of x at 0.1 A given x at 2 A, for a normal distribution
    errors = {}
    for make in (Ancestral, DpmSolver):
        runs = [moments_of_a_run(make, steps, width) for steps in (32, 64, 128)]
        assert [mean for mean, _ in runs] == pytest.approx([shrink] * 3, rel=1e-12)
        errors[make] = np.abs([found - variance for _, found in runs])
    assert np.all(np.abs(errors[Ancestral][:-1] / errors[Ancestral][1:] - 2.0) < 0.1)
    assert np.all(np.abs(errors[DpmSolver][:-1] / errors[DpmSolver][1:] - 4.0) < 0.2)
    assert errors[DpmSolver][0] < errors[Ancestral][0] / 40


def test_dpm_solver_forgets_a_run_that_was_left():
    x, score = torch.tensor([[0.5, -1.0, 2.0]]).double(), normal_score(0.3)
    sampler, first_order = DpmSolver(), Ancestral()
    steps = [(2.0, 1.0), (1.0, 0.5), (2.0, 1.0)]
    same = [
        torch.allclose(
            sampler.step(x, *step, score, noise_source(1)),
            first_order.step(x, *step, score, noise_source(1)),
            atol=1e-14,
        )
        for step in steps
    ]
    assert same == [True, False, True]


def test_dpm_solver_noise_factor_and_quiet_end():
    x = torch.zeros(1, 3).double()
    steps = {noise: DpmSolver(noise).step(x, 1.0, 0.5, normal_score(0.0), noise_source(1)) for noise in (0.5, 1.0)}
    assert torch.allclose(steps[0.5], 0.5 * steps[1.0]) and float(steps[1.0].abs().min()) > 0.0
    noise = noise_source(1)
    assert torch.equal(DpmSolver(quiet_below=0.4).step(x, 1.0, 0.3, normal_score(0.0), noise), x) and noise.calls == []


def test_corrector_keeps_the_distribution_of_its_level():
    n, sigma, width = 40_000, 0.4, 0.3
    spread = math.sqrt(sigma**2 + width**2)
    x = spread * noise_source(n)(Purpose.PRIOR)
    sampler = PredictorCorrector(corrector_steps=60, snr=0.16)
    # A level so close that the predictor does nothing.
    result = sampler.step(x, sigma * (1 + 1e-12), sigma, normal_score(width), noise_source(n))
    assert float(result.mean(0).abs().max()) < 5 * spread / math.sqrt(n)
    assert torch.allclose(result.std(0), torch.full((3,), spread).double(), rtol=0.03)


def test_corrector_pulls_a_wrong_distribution_right():
    n, sigma = 5_000, 0.4
    x = 3.0 * sigma * noise_source(n)(Purpose.PRIOR)
    sampler = PredictorCorrector(corrector_steps=150, snr=0.16)
    result = sampler.step(x, sigma * (1 + 1e-12), sigma, normal_score(0.0), noise_source(n))
    assert torch.allclose(result.std(0), torch.full((3,), sigma).double(), rtol=0.06)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-8, 1e-3, 1.0])
def test_corrector_step_is_bounded_where_the_score_vanishes(size):
    scaled = torch.full((4, 3), size).double()
    assert torch.equal(langevin_step(scaled, 0.16), torch.full((4, 1), 2 * 0.16**2, dtype=torch.float64))
    noise = noise_source(1000)
    x = torch.zeros(1000, 3).double()
    step = PredictorCorrector(corrector_steps=1).step(
        x, 3.5 * (1 + 1e-12), 3.5, lambda x, s: size * torch.ones_like(x), noise
    )
    assert torch.isfinite(step).all() and float(step.abs().max()) < 5 * 3.5 * 0.16 * 2


def test_corrector_step_shrinks_where_the_score_is_large():
    scaled = torch.tensor([[1e6, 0.0, 0.0]]).double()
    sigma = 0.1
    moved = sigma * langevin_step(scaled, 0.16) * scaled
    assert float(moved.norm()) == pytest.approx(2 * 0.16**2 * LARGE_SCORE / 1e6 * sigma, rel=1e-12)


def site_of_each_sample(result) -> tuple[np.ndarray, np.ndarray]:
    """Nearest site of each sample of `HOST` and the vector from it in A."""
    sites = HOST.positions + np.array([0.7, -0.4, 0.3])
    vectors = (result.frac_coords[:, 0] @ CELL)[:, None] - sites
    vectors -= np.diag(CELL) * np.round(vectors / np.diag(CELL))
    nearest = np.linalg.norm(vectors, axis=2).argmin(1)
    return nearest, vectors[np.arange(len(vectors)), nearest]


SAMPLER_SETTINGS = [
    {"sampler": "ancestral", "steps": 160},
    {"sampler": "ancestral", "steps": 100, "schedule": "karras"},
    {"sampler": "predictor-corrector", "steps": 161},
    {"sampler": "heun", "steps": 39},
    {"sampler": "dpm-solver", "steps": 80},
    {"sampler": "heun", "steps": 39, "schedule": "karras"},
]


@pytest.mark.parametrize("settings", SAMPLER_SETTINGS, ids=lambda s: " ".join(map(str, s.values())))
def test_samples_have_the_distribution_of_the_network(settings):
    """Sites on a torus, chosen by their weights, with their width."""
    n, width = 3000, 0.25
    settings = SamplingSettings(samples=n, seed=5, quiet_below=0.0, edge_budget=10**7, **settings)
    network = SiteNetwork(WEIGHTS, width)
    (result,) = sample(network, [Task(HOST, {"Li": 1})], settings)
    site, vector = site_of_each_sample(result)
    assert stats.chisquare(np.bincount(site, minlength=3), n * np.array([0.25, 0.25, 0.5])).pvalue > 0.01
    assert np.linalg.norm(vector, axis=1).max() < 5 * width
    assert np.all(np.abs(vector.mean(0)) < 4 * width / math.sqrt(n))
    # The last step goes to the mean of the posterior at sigma_min, so the width is a little below that of the site.
    expected = width**2 / math.sqrt(width**2 + network.sigma_min**2)
    assert np.all(np.abs(vector.std(0) / expected - 1) < 0.05)


@pytest.mark.parametrize("sampler", ["ancestral", "predictor-corrector", "heun", "dpm-solver"])
def test_forty_evaluations_are_nearly_right(sampler):
    n = 3000
    settings = SamplingSettings(samples=n, sampler=sampler, edge_budget=10**7)
    (result,) = sample(SiteNetwork(WEIGHTS, 0.0), [Task(HOST, {"Li": 1})], settings)
    site, vector = site_of_each_sample(result)
    assert np.abs(np.bincount(site) / n - [0.25, 0.25, 0.5]).max() < 0.03
    # Sites of no width are found to the last digits by the denoising step.
    assert np.abs(vector).max() < 1e-6


def test_a_quiet_end_sharpens_positions_and_keeps_the_weights():
    spreads = []
    for quiet_below in (0.0, 0.3):
        settings = SamplingSettings(samples=2000, quiet_below=quiet_below, edge_budget=10**7)
        (result,) = sample(SiteNetwork(WEIGHTS, 0.1), [Task(HOST, {"Li": 1})], settings)
        site, vector = site_of_each_sample(result)
        assert np.abs(np.bincount(site) / 2000 - [0.25, 0.25, 0.5]).max() < 0.04
        spreads.append(vector.std())
    assert spreads[1] < 0.6 * spreads[0]
