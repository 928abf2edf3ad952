"""The host atoms around the guests of each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.sites.coordination import LOOK, Shell, shells
from inpaint_hpc.sites.periodic_points import PeriodicPoints
from inpaint_hpc.sites.polyhedra import environment

from .results import Candidate


def with_coordination(task: Task, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates with the host atoms around each guest at rest, also in words, and its bond valence sum.

    Without a host as they were.
    """
    n, guests = len(task.host), np.array(task.guests)
    if not n or not candidates:
        return list(candidates)
    frozen = [c.relaxed is None or c.relaxed.host_frac_coords is None for c in candidates]
    found: dict[int, list[Shell]] = {}
    in_place = [k for k, same in enumerate(frozen) if same]
    if in_place:
        at_rest = np.concatenate([candidates[k].guests_at_rest for k in in_place])
        all_shells = _shells(task.host, at_rest, np.tile(guests, len(in_place)))
        size = len(guests)
        found = {k: all_shells[row * size : (row + 1) * size] for row, k in enumerate(in_place)}
    for k, candidate in enumerate(candidates):
        if not frozen[k]:
            assert candidate.relaxed is not None
            crystal = candidate.relaxed.crystal(task.host, task.guests)
            host = replace(crystal, numbers=crystal.numbers[:n], frac_coords=crystal.frac_coords[:n])
            found[k] = _shells(host, crystal.frac_coords[n:], guests)
    return [_described(candidate, task.guests, found[k]) for k, candidate in enumerate(candidates)]


def _shells(host: Crystal, frac_coords: np.ndarray, guests: np.ndarray) -> list[Shell]:
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    return shells(host, points, frac_coords, guests)


def _described(candidate: Candidate, guests: Sequence[int], found: Sequence[Shell]) -> Candidate:
    from ase.data import chemical_symbols

    return replace(
        candidate,
        coordination=tuple(
            " ".join(f"{element}{count}" for element, (count, _) in shell.by_element().items()) for shell in found
        ),
        environment=tuple(environment(chemical_symbols[z], shell) for z, shell in zip(guests, found, strict=True)),
        bond_valence_sum=tuple(np.nan if shell.valence is None else shell.valence for shell in found),
    )
