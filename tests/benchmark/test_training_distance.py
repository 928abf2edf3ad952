"""Distances of compositions to those of a training set."""

import numpy as np
import pytest

from inpaint_hpc.benchmark import training_distance
from inpaint_hpc.benchmark.training_distance import formula_distances, keep_distances
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.errors import InputError


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


def test_a_file_without_crystals_for_training_is_refused(tmp_path):
    crystal = Crystal([3, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 4, "a", {"split": 1})
    write_packed(tmp_path / "val.h5", [crystal])
    with pytest.raises(InputError, match="holds no crystals for training"):
        keep_distances(tmp_path, tmp_path / "val.h5", [])
