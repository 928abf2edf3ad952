"""The host atoms around the guests of each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.sites.coordination import LOOK, coordination
from inpaint_hpc.sites.periodic_points import PeriodicPoints

from .results import Candidate


def with_coordination(task: Task, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates with the shell of host atoms around each guest at rest, e.g. 'O4'; none without a host."""
    n, guests = len(task.host), np.array(task.guests)
    if not n or not candidates:
        return list(candidates)
    frozen = [c.relaxed is None or c.relaxed.host_frac_coords is None for c in candidates]
    shells: dict[int, tuple[str, ...]] = {}
    in_place = [k for k, same in enumerate(frozen) if same]
    if in_place:
        at_rest = np.concatenate([_at_rest(candidates[k]) for k in in_place])
        found = _shells(task.host, at_rest, np.tile(guests, len(in_place)))
        size = len(task.guests)
        shells = {k: tuple(found[row * size : (row + 1) * size]) for row, k in enumerate(in_place)}
    for k, candidate in enumerate(candidates):
        if not frozen[k]:
            assert candidate.relaxed is not None
            crystal = candidate.relaxed.crystal(task.host, task.guests)
            host = replace(crystal, numbers=crystal.numbers[:n], frac_coords=crystal.frac_coords[:n])
            shells[k] = tuple(_shells(host, crystal.frac_coords[n:], guests))
    return [replace(candidate, coordination=shells[k]) for k, candidate in enumerate(candidates)]


def _at_rest(candidate: Candidate) -> np.ndarray:
    relaxed = None if candidate.relaxed is None else candidate.relaxed.guest_frac_coords
    return candidate.guest_frac_coords if relaxed is None else relaxed


def _shells(host: Crystal, frac_coords: np.ndarray, guests: np.ndarray) -> list[str]:
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    return [
        " ".join(f"{element}{count}" for element, (count, _) in shell.items())
        for shell in coordination(host, points, frac_coords, guests)
    ]
