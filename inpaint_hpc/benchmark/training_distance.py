"""How far the composition of a task's crystal is from the compositions that the network was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .score import ScoredTask

DISTANCES = "training.json"  # in a benchmark's folder: name of the training file, distances by task
_BLOCK = 8192  # training crystals whose fractions are in memory at a time


def formula_distances(compositions: Sequence[np.ndarray], training: PackedDataset) -> np.ndarray:
    """Distance of each composition to the nearest one of a training set, 0 (same formula) to 1 (no element shared).

    Half the sum of the differences of the atomic fractions.

    Args:
        compositions: atomic numbers of the atoms of each crystal.
        training: the set.
    """
    from scipy.spatial.distance import cdist

    wanted = np.array([np.bincount(numbers, minlength=119) / len(numbers) for numbers in compositions])
    nearest = np.ones(len(wanted))
    for start in range(0, len(training), _BLOCK):
        counts = training.n_atoms[start : start + _BLOCK]
        atoms = training.numbers[training.offsets[start] : training.offsets[start + len(counts)]]
        known = np.zeros((len(counts), 119))
        np.add.at(known, (np.repeat(np.arange(len(counts)), counts), atoms), 1.0)
        known = np.unique(known / counts[:, None], axis=0)
        nearest = np.minimum(nearest, 0.5 * cdist(wanted, known, "cityblock").min(axis=1))
    return nearest


def keep_distances(folder: Path, training: Path, scored: Sequence[ScoredTask]) -> None:
    """Write the distances of all tasks to a packed training set into a benchmark's folder.

    Of a file with a column `split` the crystals for training count.  A task's crystal is the host with its ions.

    Raises:
        InputError: the training set cannot be read, or is empty.
    """
    from ase.data import atomic_numbers
    from pymatgen.core import Composition

    dataset = PackedDataset(training)
    if "split" in dataset.columns:
        dataset = PackedDataset(training, "train")
        if not len(dataset):
            raise InputError(f"--training {training}: holds no crystals for training (split 0)")
    amounts = [Composition(f"{one.formula} {one.guests}").get_el_amt_dict() for one in scored]
    compositions = [
        np.repeat([atomic_numbers[symbol] for symbol in atoms], [int(count) for count in atoms.values()])
        for atoms in amounts
    ]
    found = formula_distances(compositions, dataset)
    tasks = {one.task_id: round(float(distance), 6) for one, distance in zip(scored, found, strict=True)}
    with atomic_path(folder / DISTANCES) as temporary:
        temporary.write_text(json.dumps({"training": training.name, "tasks": tasks}, indent=1) + "\n", encoding="utf-8")


def with_distances(scored: Sequence[ScoredTask], folder: Path) -> list[ScoredTask]:
    """Scores with the distances that a benchmark's folder keeps; without those where it has none."""
    known: Mapping[str, Any] = {}
    if (folder / DISTANCES).exists():
        known = json.loads((folder / DISTANCES).read_text(encoding="utf-8"))["tasks"]
    return [replace(one, training_distance=known.get(one.task_id)) for one in scored]
