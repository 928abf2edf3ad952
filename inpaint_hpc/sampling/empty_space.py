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
from collections.abc import Callable

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal

from .contact_distances import connected_guests
from .counter_rng import Purpose
from .strategies import SampleBatch, rows_times

VOID = 4.5  # A, radius of a sphere without atoms
GRID = 0.6  # A
_BLOCK = 4  # points of the grid along each edge of a block
_MARGIN = 1e-6  # A, far more than rounding
_REDRAWS = 500  # of a starting position; in a cell with 1 % of it within reach 99 % succeed


_MOST = 8192
_KNOWN: OrderedDict[bytes, bool] = OrderedDict()
"""Of this process, by digest: the tasks of a unit, 2,048 at most, ask for their hosts in every round of drawing."""
_WITHOUT: OrderedDict[bytes, bytes] = OrderedDict()
"""Coordinates of a host without empty space, by cell: guests that are placed in turn leave it without, and their host
is another one for each sample and turn."""


def has_void(host: Crystal) -> bool:
    """Whether a host has empty space; one without atoms has none, for its guests are the crystal."""
    if not len(host):
        return False
    rows, frac_coords = np.asarray(host.lattice, np.float64), np.asarray(host.frac_coords, np.float64)
    cell, atoms = rows.tobytes(), frac_coords.tobytes()
    without = _WITHOUT.get(cell)  # another thread may drop it meanwhile
    if without is not None and atoms.startswith(without):
        return False
    key = hashlib.sha256(cell + atoms).digest()
    found = _KNOWN.get(key)
    if found is None:
        _KNOWN[key] = found = sphere_fits(rows, frac_coords, VOID)
        if not found:
            _WITHOUT[cell] = atoms
        for known in (_KNOWN, _WITHOUT):
            while len(known) > _MOST:
                known.popitem(last=False)
    return found


def largest_empty_sphere(lattice: np.ndarray, frac_coords: np.ndarray, limit: float) -> float:
    """Radius in A, at most `limit`, of the largest sphere around a grid point with no atom in it.

    Args:
        lattice: rows a, b, c in A, (3, 3).
        frac_coords: fractional coordinates of the atoms, (n, 3), at least one.
        limit: radius in A from which on it does not matter.
    """
    points = _every([np.arange(n) / n for n in _grid(lattice)])
    return float(_nearest(lattice, frac_coords, limit)(points).max())


def sphere_fits(lattice: np.ndarray, frac_coords: np.ndarray, radius: float) -> bool:
    """Whether `largest_empty_sphere` is larger than a radius.

    Blocks of the grid are looked at first: no point of one is further from an atom than its centre by more than half
    its diagonal.  That leaves no or few points in most crystals.
    """
    nearest = _nearest(lattice, frac_coords, radius + GRID)
    counts = _grid(lattice)
    starts = [np.arange(0, n, _BLOCK) for n in counts]
    centres = _every([(first + (_BLOCK - 1) / 2) / n for first, n in zip(starts, counts, strict=True)])
    corners = _every([np.array([-0.5, 0.5]) * (_BLOCK - 1) / n for n in counts])
    half = np.linalg.norm(corners @ lattice, axis=1).max()
    left = _every(starts)[nearest(centres) + half > radius - _MARGIN]
    if not len(left):
        return False
    points = (left[:, None] + _every([np.arange(_BLOCK)] * 3)).reshape(-1, 3)
    largest = float(nearest(points[(points < counts).all(axis=1)] / counts).max())
    if abs(largest - radius) <= _MARGIN:
        return largest_empty_sphere(lattice, frac_coords, radius + GRID) > radius
    return largest > radius


def _grid(lattice: np.ndarray) -> np.ndarray:
    """Points of the grid along each cell vector, int64 (3,)."""
    return np.ceil(np.linalg.norm(lattice, axis=1) / GRID).astype(int)


def _every(axes: list[np.ndarray]) -> np.ndarray:
    """Every combination of values along three axes, the last one fastest: (m, 3)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _nearest(lattice: np.ndarray, frac_coords: np.ndarray, limit: float) -> Callable[[np.ndarray], np.ndarray]:
    """A function from fractional coordinates in the cell, (m, 3), to distances in A to the nearest atom, at most
    `limit`, (m,)."""
    from scipy.spatial import cKDTree

    # Images of atoms up to `limit` outside of the cell, in fractional coordinates.
    margin = limit * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    shifts = _every([np.arange(-n, n + 1) for n in np.ceil(margin).astype(int)])
    images = (frac_coords % 1.0 + shifts[:, None]).reshape(-1, 3)
    images = images[((images >= -margin) & (images <= 1.0 + margin)).all(axis=1)]
    tree = cKDTree(images @ lattice)

    def distances(points: np.ndarray) -> np.ndarray:
        return np.minimum(tree.query(points @ lattice, distance_upper_bound=limit)[0], limit)

    return distances


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
