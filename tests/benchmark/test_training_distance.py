"""Distances of compositions to those of a training set."""

import numpy as np

from inpaint_hpc.benchmark import training_distance
from inpaint_hpc.benchmark.training_distance import formula_distances
from inpaint_hpc.crystals.packed import PackedDataset


def test_distance_to_the_nearest_formula(monkeypatch):
    monkeypatch.setattr(training_distance, "_BLOCK", 50)  # several blocks
    training = PackedDataset("tests/data/smoke.h5", "train")
    own = training[3].numbers
    doubled = np.repeat(own, 2)
    foreign = np.array([118, 118])
    brute = min(
        0.5
        * np.abs(
            np.bincount(training[k].numbers, minlength=119) / len(training[k])
            - np.bincount([3, 8, 8], minlength=119) / 3
        ).sum()
        for k in range(len(training))
    )
    found = formula_distances([own, doubled, foreign, np.array([3, 8, 8])], training)
    np.testing.assert_allclose(found, [0, 0, 1, brute], atol=1e-6)
