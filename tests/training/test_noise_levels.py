"""Noise levels: in range, log-uniform, one per stratum."""

import math

import torch

from inpaint_hpc.training.noise_levels import stratified_log_uniform


def test_each_row_has_one_level_in_each_stratum():
    levels = stratified_log_uniform((500, 8), 0.03, 3.5, torch.Generator().manual_seed(0))
    place = (torch.log(levels) - math.log(0.03)) / math.log(3.5 / 0.03)
    assert (torch.floor(place * 8).long() == torch.arange(8)).all()


def test_levels_are_log_uniform():
    levels = stratified_log_uniform((4000, 4), 0.03, 3.5, torch.Generator().manual_seed(0))
    place = ((torch.log(levels) - math.log(0.03)) / math.log(3.5 / 0.03)).flatten().sort().values
    expected = (torch.arange(len(place)) + 0.5) / len(place)
    assert (place - expected).abs().max() < 0.01
