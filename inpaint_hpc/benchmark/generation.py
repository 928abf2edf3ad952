"""All-atom generation: composition and cell of a known crystal given, all atoms placed, compared with the crystal.

As in DiffCSP (R. Jiao et al., NeurIPS 2023), except that its cells are predicted as well: a sample matches by
`StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10)`, and is valid if all distances are over 0.5 A.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import SPLITS, PackedDataset, hash_order
from inpaint_hpc.crystals.reading import iter_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

from .host_rows import Column, Row
from .random_placement import seeded

if TYPE_CHECKING:
    from inpaint_hpc.sampling.strategies import Network

SHORTEST = 0.5  # A, of a valid structure
SIZES = {"1-5": 5, "6-10": 10, "11-20": 20, "21+": 10**9}


def columns(samples: int) -> tuple[Column, ...]:
    """Of the table, for so many samples of each crystal."""
    return (
        Column("one_sample", "one sample"),
        Column("any", f"any of {samples}"),
        Column("valid", "valid"),
        Column("rmsd", "RMSD / (V/N)^(1/3)", 3),
        Column("seconds_s", "s", 1),
    )


def chosen_crystals(sources: Sequence[str | Path], limit: int | None = None, max_atoms: int = 20) -> list[Crystal]:
    """Crystals in the order of the sha256 of their names.

    Args:
        sources: files in any format; of a packed file (.h5) with a column `split` all but those for training.
        limit: so many, the first of them.
        max_atoms: largest crystal.

    Raises:
        InputError: a file cannot be read, or no crystal is left.
    """
    found: list[Crystal] = []
    for source in map(Path, sources):
        if source.suffix != ".h5":
            found += [crystal for crystal in iter_hosts(source) if len(crystal) <= max_atoms]
            continue
        dataset = PackedDataset(source, max_atoms=max_atoms)
        splits = dataset.columns.get("split", np.full(len(dataset), SPLITS["eval"]))
        names = [(dataset.ids[row], row) for row in np.flatnonzero(splits != SPLITS["train"]).tolist()]
        found += [dataset[row] for _, row in hash_order(names, itemgetter(0))[:limit]]
    if not found:
        raise InputError(f"no crystal of at most {max_atoms} atoms that is not for training; see --max-atoms")
    return hash_order(found)[:limit]


def generation_row(network: Network, reference: Crystal, settings: SamplingSettings, at_random: bool = False) -> Row:
    """The row of a crystal.

    Args:
        network: a score network.
        reference: the crystal.
        settings: of the samples.
        at_random: the best of 100 uniform placements, by the shortest distance, instead of each sample: what matches
            without a network.

    Returns:
        `one_sample`: share of samples that match; `any` of them; `valid`: share of samples that are; `rmsd`: median of
        the matcher's distance over the samples that match, over (V / N)^(1/3), None without one.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    started = time.perf_counter()
    matcher, target = StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10), reference.to_structure()
    nothing = Crystal(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), reference.lattice, reference.name)
    row: Row = {
        "host": reference.name,
        "formula": reference.formula,
        "atoms": len(reference),
        "group": next(name for name, most in SIZES.items() if len(reference) <= most),
        "framework": reference.name,
    }
    try:
        task = Task(nothing, reference.numbers.tolist())
        crystals = _apart(reference, settings) if at_random else sample(network, [task], settings)[0].crystals()
    except InputError as error:  # a cell that is too small for the atoms, by the contact distances
        return row | {
            "one_sample": 0.0,
            "any": False,
            "valid": 0.0,
            "rmsd": None,
            "seconds_s": 0.0,
            "error": str(error),
        }
    found = [matcher.get_rms_dist(target, crystal.to_structure()) for crystal in crystals]
    distances = [distance[0] for distance in found if distance is not None]
    return row | {
        "one_sample": len(distances) / len(found),
        "any": bool(distances),
        "valid": float(np.mean([is_valid(crystal) for crystal in crystals])),
        "rmsd": float(np.median(distances)) if distances else None,
        "seconds_s": time.perf_counter() - started,
    }


def is_valid(crystal: Crystal) -> bool:
    """Whether all distances, also to images, are over 0.5 A."""
    return shortest_distance(crystal) > SHORTEST


def shortest_distance(crystal: Crystal) -> float:
    """Between atoms, images included, A."""
    cell = PeriodicCell(crystal.lattice)
    distances = cell.distances(crystal.frac_coords, crystal.frac_coords)
    np.fill_diagonal(distances, cell.shortest)
    return float(distances.min())


def _apart(reference: Crystal, settings: SamplingSettings) -> list[Crystal]:
    """Random placements of a crystal's atoms that are far from each other."""
    rng = seeded(f"{reference.name}:{settings.seed}:generation")
    tries = [
        [replace(reference, frac_coords=rng.random((len(reference), 3))) for _ in range(100)]
        for _ in range(settings.samples)
    ]
    return [max(several, key=shortest_distance) for several in tries]
