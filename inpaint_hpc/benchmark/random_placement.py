"""Random placements of guests where there is room: what is right by chance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.contact_distances import contact_radii, invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.placement_distances import STOL, compare_placements

from .score import ScoredTask


def random_valid(
    host: Crystal, guest: int, n_guests: int, count: int, rng: np.random.Generator, tries: int = 20_000
) -> list[np.ndarray]:
    """Placements of equal guests, one after another at random points that host and earlier guests leave free.

    Args:
        host: the host.
        guest: atomic number.
        n_guests: of each placement.
        count: placements; fewer come out where there is hardly room.
        rng: decides all.
        tries: random points of the cell that are considered.

    Returns:
        Fractional coordinates, each (n_guests, 3).
    """
    cell = PeriodicCell(host.lattice)
    points = rng.random((tries, 3))
    radius = contact_radii([guest])[0]
    room = (cell.distances(points, host.frac_coords) >= radius + contact_radii(host.numbers)).all(axis=1)
    points = points[room]
    guests = np.full(n_guests, guest)
    placed: list[np.ndarray] = []
    for _ in range(20 * count):
        if len(placed) == count or not len(points):
            break
        chosen = np.zeros((0, 3))
        free = np.ones(len(points), dtype=bool)
        while len(chosen) < n_guests and free.any():
            new = points[rng.choice(np.flatnonzero(free))]
            chosen = np.concatenate([chosen, new[None]])
            free &= cell.distances(points, new[None])[:, 0] >= 2.0 * radius
        if len(chosen) == n_guests and not invalid_samples(host, guests, chosen[None]).invalid[0]:
            placed.append(chosen)
    return placed


def chance_of(record: TaskRecord, count: int, symprec: float = 0.1, stol: float = STOL) -> float | None:
    """Share of random placements of a task's guests that are right, the chance rate.

    Args:
        record: a task with guests of one species and a reference.
        count: placements; those that the cell has no room for count as wrong.
        symprec, stol: as `compare_placements`.

    Returns:
        None for guests of several species, or without a reference.
    """
    guests = record.guests
    if record.reference_frac_coords is None or len(set(guests)) != 1:
        return None
    rng = seeded(f"{record.task_id}:random")
    placed = random_valid(record.host, guests[0], len(guests), count, rng)
    if not placed:
        return 0.0
    compared = compare_placements(record.host, guests, record.reference_frac_coords, np.array(placed), symprec, stol)
    return float(compared.right.sum()) / count


def with_chance(
    scored: Sequence[ScoredTask], records: Iterable[TaskRecord], count: int, symprec: float = 0.1, stol: float = STOL
) -> list[ScoredTask]:
    """Scores with the chance rate of their tasks, of `count` random placements each."""
    by_id = {one.task_id: one for one in scored}
    for record in records:
        if record.task_id in by_id:
            chance = chance_of(record, count, symprec, stol)
            by_id[record.task_id] = replace(by_id[record.task_id], chance=chance)
    return list(by_id.values())


def seeded(text: str) -> np.random.Generator:
    """Random numbers that a text decides."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))
