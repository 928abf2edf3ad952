"""Settings: what they cost, and what they refuse."""

from itertools import pairwise

import pytest

from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.settings import SAMPLERS, STRATEGIES, SamplingSettings, nfe


@pytest.mark.parametrize(
    ("settings", "levels", "cost"),
    [
        ({"steps": 40}, 40, 40),
        ({"steps": 40, "sampler": "heun"}, 20, 39),
        ({"steps": 41, "sampler": "heun"}, 21, 41),
        ({"steps": 40, "sampler": "predictor-corrector"}, 20, 39),
        ({"steps": 41, "sampler": "predictor-corrector", "corrector_steps": 4}, 9, 41),
        ({"steps": 40, "strategy": "replacement"}, 40, 40),
        # Dai et al.: 200 levels, jumps of 10, 3 rounds: 199 + 19 * 2 * 10 steps down, 380 levels up.
        ({"steps": 580, "strategy": "repaint", "jump_length": 10, "resamples": 3}, 200, 580),
        ({"steps": 40, "strategy": "repaint", "resamples": 1}, 40, 40),
        ({"steps": 2}, 2, 2),
    ],
)
def test_levels_follow_from_the_budget(settings, levels, cost):
    settings = SamplingSettings(**settings)
    assert settings.n_levels == levels
    assert settings.nfe == nfe(settings) == cost <= settings.steps


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [70, 100, 123, 500])
def test_nfe_is_what_the_path_costs(strategy, sampler, steps):
    settings = SamplingSettings(steps=steps, strategy=strategy, sampler=sampler, jump_length=7, resamples=3)
    path = settings.path()
    downward = sum(there > here for here, there in pairwise(path))
    assert downward * settings.make_sampler().evaluations + 1 == settings.nfe <= steps
    assert path[0] == 0 and path[-1] == settings.n_levels - 1
    assert set(path) == set(range(settings.n_levels))


def test_repaint_goes_back_by_blocks_counted_from_the_last_level():
    settings = SamplingSettings(steps=8 + 2 * 2 * 3 + 1, strategy="repaint", jump_length=3, resamples=3)
    assert settings.n_levels == 9
    first, second = [2, 3, 4, 5], [5, 6, 7, 8]
    assert settings.path() == [0, 1, 2, 3, 4, 5, *first, *first, 6, 7, 8, *second, *second]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "ddim"}, "unknown sampler 'ddim': choose one of ancestral, predictor-corrector, heun, dpm-solver"),
        (
            {"strategy": "paste"},
            "unknown strategy 'paste': choose one of auto, conditional, sequential, replacement, repaint",
        ),
        ({"schedule": "cosine"}, "unknown schedule 'cosine': choose one of geometric, karras"),
        ({"samples": 0}, "samples must be a whole number of at least 1, not 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, not 2.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"edge_budget": 0}, "edge_budget must be a whole number of at least 1, not 0"),
        ({"snr": 1.0}, "snr must be above 0 and below 1, not 1.0"),
        ({"noise": -0.1}, "noise must be at least 0, not -0.1"),
        ({"noise": float("nan")}, "noise must be at least 0, not nan"),
        ({"sigma_max": 0.0}, "sigma_max must be above 0, not 0.0"),
        ({"sampler": "heun", "steps": 2}, "2 steps are too few for the heun sampler: give at least 3 steps"),
        (
            {"strategy": "repaint", "sampler": "heun", "steps": 40},
            "40 steps are too few for repaint with the heun sampler: give at least 63 steps or a shorter jump_length",
        ),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(InputError) as caught:
        SamplingSettings(**settings)
    assert str(caught.value) == message


def test_levels_outside_of_the_trained_range_are_refused():
    with pytest.raises(InputError, match=r"noise levels from 5 to 0.03 A are outside .* \(3.5 to 0.03 A\)"):
        SamplingSettings(sigma_max=5.0).levels(3.5, 0.03)
    with pytest.raises(InputError, match="outside"):
        SamplingSettings(sigma_min=0.001).levels(3.5, 0.03)
    with pytest.raises(InputError, match="sigma_min < sigma_max"):
        SamplingSettings(sigma_min=4.0).levels(3.5, 0.03)
    with pytest.raises(InputError, match="sigma_min must be < sigma_max"):
        SamplingSettings(sigma_min=0.5, sigma_max=0.1)
    settings = SamplingSettings(sigma_max=2.0, sigma_min=0.05)
    assert (settings.starting_at(0.1).sigma_max, settings.starting_at(0.1).sigma_min) == (0.1, 0.05)
    assert settings.starting_at(0.05, steps=6) == SamplingSettings(sigma_max=0.05, steps=6)
    levels = SamplingSettings(sigma_max=2.0, sigma_min=0.05).levels(3.5, 0.03)
    assert levels[0] == 2.0 and levels[-1] == 0.05
