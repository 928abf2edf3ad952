"""Hosts with empty space: slabs, layers and molecules in vacuum, and frameworks with wide cavities.

Rule: a host has empty space if a sphere of radius `VOID` = 4.5 A without an atom in it fits in its cell (centres of
atoms; looked for on a grid of 0.6 A).  Of hosts made from training crystals by taking out an ion 1.8 % have it (5,437
hosts of 8,000 crystals of `mp_train.h5`), of `wbm_dev.h5` 0.5 %, of the 1,565 hosts in `electrodes_train.h5` and
`electrodes_dev.h5` none, their largest being 4.2 A (`python benchmarks/empty_spheres.py FILE`).

Guests drawn uniformly would mostly begin there, far from every atom, where the network has nothing to go by.  In such
hosts, and only there, starting positions out of reach of all atoms are drawn again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal

from .contact_distances import connected_guests
from .counter_rng import Purpose
from .strategies import SampleBatch, rows_times

VOID = 4.5  # A, radius of a sphere without atoms
GRID = 0.6  # A
_REDRAWS = 500  # of a starting position; in a cell with 1 % of it within reach 99 % succeed


_MOST = 8192
_KNOWN: OrderedDict[bytes, bool] = OrderedDict()
"""Of this process, by digest: the tasks of a unit, 2,048 at most, ask for their hosts in every round of drawing."""


def has_void(host: Crystal) -> bool:
    """Whether a host has empty space; one without atoms has none, for its guests are the crystal."""
    if not len(host):
        return False
    rows, frac_coords = np.asarray(host.lattice, np.float64), np.asarray(host.frac_coords, np.float64)
    key = hashlib.sha256(rows.tobytes() + frac_coords.tobytes()).digest()
    found = _KNOWN.get(key)
    if found is None:
        _KNOWN[key] = found = largest_empty_sphere(rows, frac_coords, VOID + GRID) > VOID
        while len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)
    return found


def largest_empty_sphere(lattice: np.ndarray, frac_coords: np.ndarray, limit: float) -> float:
    """Radius in A, at most `limit`, of the largest sphere around a grid point with no atom in it.

    Args:
        lattice: rows a, b, c in A, (3, 3).
        frac_coords: fractional coordinates of the atoms, (n, 3), at least one.
        limit: radius in A from which on it does not matter.
    """
    from scipy.spatial import cKDTree

    steps = [np.arange(n) / n for n in np.ceil(np.linalg.norm(lattice, axis=1) / GRID).astype(int)]
    points = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # Images of atoms up to `limit` outside of the cell, in fractional coordinates.
    margin = limit * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    cells = [np.arange(-n, n + 1) for n in np.ceil(margin).astype(int)]
    shifts = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    images = (frac_coords % 1.0 + shifts).reshape(-1, 3)
    images = images[((images >= -margin) & (images <= 1.0 + margin)).all(axis=1)]
    distances, _ = cKDTree(images @ lattice).query(points @ lattice, distance_upper_bound=limit)
    return float(np.minimum(distances, limit).max())


def starting_positions(batch: SampleBatch) -> torch.Tensor:
    """Uniform positions of the guests in their cells, A, float64 (G, 3), within reach of atoms where there is a void.

    Without a void they are `SampleBatch.uniform_positions`, to the last bit.
    """
    positions = batch.uniform_positions()
    voids = [row for row, task in enumerate(batch.tasks) if has_void(task.host)]
    if not voids:
        return positions
    task_of = batch.host[batch.sample]
    open_rows = torch.cat([torch.nonzero(task_of == row)[:, 0] for row in voids])
    for repeat in range(1, _REDRAWS + 1):
        open_rows = open_rows[~_within_reach(batch, positions, open_rows)]
        if not len(open_rows):
            break
        frac = batch.rng.uniform(batch.sample[open_rows], 0, Purpose.PRIOR, batch.atom[open_rows], repeat)
        positions[open_rows] = rows_times(frac, batch.cells[task_of[open_rows]])
    return positions


def _within_reach(batch: SampleBatch, positions: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Which of the given guests could have a bond to a host atom, bool (len(rows),)."""
    frac = batch.fractional(positions[rows], batch.sample[rows]).cpu().numpy()
    numbers, tasks = batch.numbers[rows].cpu().numpy(), batch.host[batch.sample[rows]].cpu().numpy()
    near = np.zeros(len(rows), dtype=bool)
    for task in np.unique(tasks):
        for z in np.unique(numbers[tasks == task]):
            same = (tasks == task) & (numbers == z)
            near[same] = connected_guests(batch.tasks[task].host, [z], frac[same][:, None])[:, 0]
    return torch.as_tensor(near, device=rows.device)
