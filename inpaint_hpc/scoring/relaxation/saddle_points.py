"""Away from saddle points: where symmetry or a flat top holds a guest, its forces vanish without a minimum.

Three evaluations with all guests displaced along x, y and z give each guest's curvatures, exactly for one guest, and
up to the weak coupling between guests for several.  Guests with a negative curvature are displaced along the steepest
of the ways down, until a force would let them go on, and the structure is relaxed again from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator, crystals_batch

from .settings import Relaxation, RelaxSettings

RelaxOnce = Callable[[Sequence[Crystal], Sequence[int], RelaxSettings], list[Relaxation]]

NEGATIVE = -0.02  # eV/A^2; what is flatter gains less than LEAST_GAIN within LONGEST
LEAST_GAIN = 0.005  # eV per structure
LONGEST = 0.8  # A, a displacement is doubled up to this until a force exceeds fmax
ROUNDS = 3  # the way down may lead over further saddle points


def leave_saddle_points(
    relaxations: Sequence[Relaxation],
    counts: Sequence[int],
    settings: RelaxSettings,
    evaluator: BatchEvaluator,
    relax_once: RelaxOnce,
) -> list[Relaxation]:
    """Relaxations that ended on a saddle point of their guests, relaxed to lower minima; the others unchanged.

    Args:
        relaxations: results; only those that converged are examined, and only where guests are in a host.
        counts: number of guests of each, its last atoms.
        settings: of the relaxation.
        evaluator: energies and forces.
        relax_once: relaxes crystals with these numbers of guests under these settings.
    """
    results = list(relaxations)
    open_ones = [k for k, r in enumerate(results) if r.converged and 0 < counts[k] < len(r.crystal)]
    for _ in range(ROUNDS):
        guests = [counts[k] for k in open_ones]
        lower = _lower([results[k] for k in open_ones], guests, settings, evaluator, relax_once)
        found = [(k, better) for k, better in zip(open_ones, lower, strict=True) if better is not None]
        results = [dict(found).get(k, result) for k, result in enumerate(results)]
        open_ones = [k for k, better in found if better.converged]
        if not open_ones:
            break
    return results


def _lower(
    given: list[Relaxation],
    counts: list[int],
    settings: RelaxSettings,
    evaluator: BatchEvaluator,
    relax_once: RelaxOnce,
) -> list[Relaxation | None]:
    """For each structure a lower minimum next to it, or None."""
    starts = _downhill(given, counts, settings, evaluator)
    ends = relax_once(list(starts.values()), [counts[k] for k in starts], settings)
    found: list[Relaxation | None] = [None] * len(given)
    for k, end in zip(starts, ends, strict=True):
        if _sound(end, counts[k]) and _gain(given[k], end) > LEAST_GAIN:
            steps = given[k].steps + end.steps
            reason = f"converged in {steps} steps, past a saddle point" if end.converged else end.reason
            before = given[k].energy_per_atom_before
            found[k] = replace(end, steps=steps, reason=reason, energy_per_atom_before=before)
    return found


def _gain(before: Relaxation, after: Relaxation) -> float:
    return (before.energy_per_atom - after.energy_per_atom) * len(before.crystal)


def _sound(end: Relaxation, count: int) -> bool:
    """Whether this is a minimum: CHGNet may find a guest on top of a host atom favourable."""
    n = len(end.crystal) - count
    host = replace(end.crystal, numbers=end.crystal.numbers[:n], frac_coords=end.crystal.frac_coords[:n])
    guests = end.crystal.numbers[n:], end.crystal.frac_coords[None, n:]
    return not end.diverged and not invalid_samples(host, *guests).reason[0]


@dataclass(frozen=True)
class _Displaced:
    crystal: Crystal
    forces: np.ndarray  # on the guests


def _displaced(
    crystals: Sequence[Crystal], displacements: Sequence[np.ndarray], evaluator: BatchEvaluator
) -> list[_Displaced]:
    """Crystals whose last atoms are displaced, A, with the forces on them; NaN where they cannot be evaluated."""
    moved = []
    for crystal, displacement in zip(crystals, displacements, strict=True):
        frac = crystal.frac_coords.copy()
        frac[len(frac) - len(displacement) :] += displacement @ np.linalg.inv(crystal.lattice)
        moved.append(replace(crystal, frac_coords=frac))
    if not moved:
        return []
    evaluation = evaluator(crystals_batch(moved).to(evaluator.network.device)).to("cpu")
    assert evaluation.forces is not None
    return [
        _Displaced(c, evaluation.forces[evaluation.atoms(k)].numpy()[-len(d) :])
        for k, (c, d) in enumerate(zip(moved, displacements, strict=True))
    ]


def _downhill(
    given: list[Relaxation], counts: list[int], settings: RelaxSettings, evaluator: BatchEvaluator
) -> dict[int, Crystal]:
    """Of structures on saddle points, by their place in `given`: displaced along the steepest way down."""
    directions = _directions(given, counts, settings.displacement, evaluator)
    starts: dict[int, Crystal] = {}
    length, walking = settings.displacement, {k: ways for k, ways in enumerate(directions) if ways}
    while walking:
        owners = [(k, way) for k, ways in walking.items() for way in ways]
        ends = _displaced([given[k].crystal for k, _ in owners], [length * way for _, way in owners], evaluator)
        steepest: dict[int, tuple[float, np.ndarray, _Displaced]] = {}
        for (k, way), end in zip(owners, ends, strict=True):
            # The first steps gain less than the energy's last digit, but the force shows which way is down.
            slope = float(np.sum(end.forces * way))
            if slope > 0 and (k not in steepest or slope > steepest[k][0]):
                steepest[k] = slope, way, end
        length *= 2
        walking = {}
        for k, (_, way, end) in steepest.items():
            starts[k] = end.crystal
            if np.linalg.norm(end.forces, axis=1).max() < settings.fmax and length <= LONGEST:
                walking[k] = [way]
    return starts


def _directions(
    given: list[Relaxation], counts: list[int], displacement: float, evaluator: BatchEvaluator
) -> list[list[np.ndarray]]:
    """For each structure displacements of its guests along negative curvatures, (n, 3), 1 A each; none for a minimum.

    Guests are displaced together in the measurement, with signs that are the same in every run, so that couplings
    between them average out.
    """
    signs = [2.0 * np.random.default_rng(n).integers(0, 2, n) - 1.0 for n in counts]
    owners = [(k, axis) for k in range(len(given)) for axis in np.eye(3)]
    shifts = [displacement * signs[k][:, None] * axis for k, axis in owners]
    ends = _displaced([given[k].crystal for k, _ in owners], shifts, evaluator)
    found = []
    for k, relaxation in enumerate(given):
        forces = np.stack([end.forces for end in ends[3 * k : 3 * k + 3]], axis=-1)  # (n, 3, axis)
        change = forces - relaxation.forces[-counts[k] :, :, None]
        hessians = -change * signs[k][:, None, None] / displacement
        ways = [_negative(one) for one in (hessians + hessians.transpose(0, 2, 1)) / 2]
        most = max(len(way) for way in ways)
        still = [np.zeros(3)]
        found.append([np.array([(way or still)[j % len(way or still)] for way in ways]) for j in range(most)])
    return found


def _negative(hessian: np.ndarray) -> list[np.ndarray]:
    """Unit vectors spread over the directions of negative curvature: 2, 8 or 26."""
    if not np.isfinite(hessian).all():
        return []
    values, vectors = np.linalg.eigh(hessian)
    negative = vectors[:, values < NEGATIVE]
    ways = [negative @ np.array(c) for c in product((-1.0, 0.0, 1.0), repeat=negative.shape[1]) if any(c)]
    return [way / np.linalg.norm(way) for way in ways]
