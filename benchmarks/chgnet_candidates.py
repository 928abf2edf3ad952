"""What both CHGNet benchmarks share: candidates made of real crystals, and how time is taken."""

# ruff: noqa: E402
from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Read when numpy is imported, so this module is to be imported first: the comparison is one of single threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import click
import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset

SMOKE = Path(__file__).resolve().parent.parent / "tests" / "data" / "smoke.h5"
IONS = (3, 11, 12, 19, 20, 30, 13)


def supercell(crystal: Crystal, most_atoms: int) -> Crystal:
    """The crystal doubled along its shortest axis as often as it stays within `most_atoms`."""
    while 2 * len(crystal) <= most_atoms:
        axis = int(np.argmin(np.linalg.norm(crystal.lattice, axis=1)))
        scale = np.where(np.arange(3) == axis, 2.0, 1.0)
        frac = np.concatenate([crystal.frac_coords, crystal.frac_coords + (scale - 1)]) / scale
        crystal = replace(
            crystal, numbers=np.tile(crystal.numbers, 2), frac_coords=frac, lattice=crystal.lattice * scale[:, None]
        )
    return crystal


def candidates(
    path: str | Path, n: int, fewest: int, most: int, shift: float, seed: int = 0
) -> tuple[list[Crystal], list[int]]:
    """Crystals of a packed file (or supercells of them) with the atoms of one ion last and displaced.

    Args:
        path: the packed file.
        n: how many candidates.
        fewest, most: atoms of a candidate; sizes are spread evenly in between.
        shift: standard deviation of each coordinate of the displacements, A.
        seed: of the choice and of the displacements.

    Returns:
        candidates and their numbers of guests.
    """
    dataset = PackedDataset(path)
    rng = np.random.default_rng(seed)
    found, counts = [], []
    while len(found) < n:
        limit = int(rng.integers(fewest, most + 1))
        crystal = supercell(dataset[int(rng.integers(len(dataset)))], limit)
        ion = next((z for z in IONS if 0 < (crystal.numbers == z).sum() < len(crystal)), None)
        if ion is None or not fewest <= len(crystal) <= most:
            continue
        order = np.argsort(crystal.numbers == ion, kind="stable")
        count = int((crystal.numbers == ion).sum())
        shifts = np.zeros((len(crystal), 3))
        shifts[-count:] = rng.normal(0, shift, (count, 3))
        frac = crystal.frac_coords[order] + shifts @ np.linalg.inv(crystal.lattice)
        found.append(replace(crystal, numbers=crystal.numbers[order], frac_coords=frac))
        counts.append(count)
    return found, counts


def timed(function: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result, and the seconds it took: of the processor on a CPU, where others may share it, else of the clock."""
    import torch

    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    started = clock()
    result = function()
    if device != "cpu":
        torch.cuda.synchronize()
    return result, clock() - started


def chgnet_as_published(weights: str, device: str):
    """CHGNet as `CHGNet.load` gives it, silently."""
    from inpaint_hpc.scoring.chgnet.models import quiet

    with quiet():
        from chgnet.model.model import CHGNet

        return CHGNet.load(model_name=weights, use_device=device, verbose=False)


def common_options(command):
    """Options of both benchmarks."""
    for option in (
        click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a file."),
        click.option("--quick", is_flag=True, help="A small version of everything, in about a minute."),
        click.option("--weights", default="0.3.0", show_default=True, help="0.3.0, 0.2.0 or r2scan."),
        click.option("--device", default="cpu", show_default=True, help="cpu or cuda."),
        click.option("--seed", default=0, show_default=True),
        click.argument("file", default=SMOKE, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command
