"""Merges candidates that relaxed into the same minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inpaint_hpc.sampling.deduplication import equal_samples, group_equal
from inpaint_hpc.sampling.tasks import Task

from .results import Candidate, Relaxed
from .settings import PipelineSettings

# eV per atom.  Relaxations to 0.05 eV/A into the same minimum differ by less than this.
SAME_ENERGY = 2e-3


def merge_minima(task: Task, candidates: Sequence[Candidate], pipeline: PipelineSettings) -> list[Candidate]:
    """Merge the candidates of one task that share a minimum: the lowest is kept, with the samples of all of them.

    Two are the same when their energies are within `SAME_ENERGY` and their structures are equal: guests within
    `pipeline.tolerance` of each other under the host's symmetry where the host was frozen, else by pymatgen's
    `StructureMatcher` (S. P. Ong et al., Comput. Mater. Sci. 68, 314 (2013)).  Candidates that were not relaxed, or
    diverged, are left unchanged.
    """
    sound = [c for c in candidates if c.relaxed is not None and c.relaxed.sound]
    others = [c for c in candidates if c.relaxed is None or not c.relaxed.sound]
    if len(sound) < 2:
        return [*sound, *others]
    energies = np.array([_minimum(c).energy_per_atom for c in sound])
    close = np.abs(energies[:, None] - energies[None]) < SAME_ENERGY
    if len(task.host) and pipeline.relax == "guests":
        coords = np.array([_minimum(c).guest_frac_coords for c in sound])
        equal = close & equal_samples(task.host, task.guests, coords, pipeline.tolerance, pipeline.symprec)
    else:
        equal = close & _same_structures(task, sound, close)
    return [*(_merged([sound[k] for k in group]) for group in group_equal(equal)), *others]


def _minimum(candidate: Candidate) -> Relaxed:
    assert candidate.relaxed is not None  # of those that are merged
    return candidate.relaxed


def _same_structures(task: Task, candidates: Sequence[Candidate], possible: np.ndarray) -> np.ndarray:
    """Which whole structures are equal, bool (S, S); only possible pairs are compared."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.1, stol=0.2, angle_tol=3.0, primitive_cell=False, scale=False)
    structures = [_minimum(c).crystal(task.host, task.guests).to_structure() for c in candidates]
    equal = np.eye(len(structures), dtype=bool)
    for i, j in zip(*np.nonzero(np.tril(possible, -1)), strict=True):
        equal[i, j] = equal[j, i] = matcher.fit(structures[i], structures[j])
    return equal


def _merged(group: Sequence[Candidate]) -> Candidate:
    best = min(group, key=lambda c: (_minimum(c).energy_per_atom, c.sample))
    if len(group) == 1:
        return best
    return replace(
        best,
        members=tuple(sorted(member for c in group for member in c.members)),
        agreement=min(1.0, math.fsum(c.agreement for c in group)),
        spread=None,
        placements=sum(c.placements for c in group),
        origin=joined_origin(group),
    )


def joined_origin(candidates: Sequence[Candidate]) -> str:
    """Origins of merged candidates, each once, in alphabetical order: 'joint+orbits'."""
    return "+".join(sorted({part for c in candidates for part in c.origin.split("+")}))
