"""Pairs of an empty host and its filled crystal, made from filled crystals alone.

Few insertion electrodes have both members known.  Further pairs can be made from any crystal that contains an ion: the
ions are removed, and the rest is relaxed with its cell by CHGNet, as a charged electrode would be.  Hosts that collapse
or move further than in a topotactic electrode are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import ElectrodePair
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
from inpaint_hpc.scoring.relaxation.relax import Relaxation, RelaxSettings, relax

IONS = (3, 11, 19, 12, 20, 30, 13)
# Elements that change their valence when an ion leaves, and those that hold a framework together.
REDOX = frozenset({22, 23, 24, 25, 26, 27, 28, 29, 40, 41, 42, 44, 73, 74, 75})
ANIONS = frozenset({7, 8, 9, 15, 16, 17, 34, 35})
# Limits of what counts as the same framework, as for electrodes that the Materials Project recommends.
MOST_VOLUME_CHANGE, MOST_DISPLACEMENT = 0.30, 0.5  # of the volume; RMS in A
FMAX, STEPS = 0.1, 40  # a rough relaxation: what matters is that the host is no longer as it was around the ions


@dataclass
class PairReport:
    """Outcomes of the crystals.

    Attributes:
        made: pairs made.
        diverged: hosts that could not be relaxed.
        changed: hosts whose framework changed in the relaxation.
    """

    made: int = 0
    diverged: int = 0
    changed: int = 0


def candidates(
    crystals: Iterable[Crystal], max_atoms: int, ions: Sequence[int] = IONS
) -> Iterator[tuple[Crystal, int]]:
    """Crystals that could be electrodes, with the atomic number of the ion to remove.

    They contain exactly one of the elements `ions`, a transition metal that changes its valence, an anion, and at most
    as many ions as other atoms.
    """
    for crystal in crystals:
        present = set(crystal.numbers.tolist())
        held = present & set(ions)
        if len(crystal) <= max_atoms and len(held) == 1 and present & REDOX and present & ANIONS:
            ion = held.pop()
            if 2 * int((crystal.numbers == ion).sum()) <= len(crystal):
                yield crystal, ion


def deintercalated_pairs(
    chosen: Sequence[tuple[Crystal, int]],
    *,
    fmax: float = FMAX,
    steps: int = STEPS,
    model: str = DEFAULT_WEIGHTS,
    device: object = None,
    report: PairReport | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[ElectrodePair]:
    """Pairs from crystals and the ions to remove from them.

    Args:
        chosen: crystals, and the atomic number of the ion in each.
        fmax: hosts relax until no force exceeds it, eV/A, or
        steps: this many steps are done.
        model: CHGNet weights.
        device: torch device.
        report: records the outcomes of the crystals.
        progress: called with crystals finished since the last call.

    Raises:
        InputError: a crystal without the ion, or with nothing else; or as `relax`.
    """
    report = PairReport() if report is None else report
    filled = [_guests_last(crystal, ion) for crystal, ion in chosen]
    hosts = [Crystal(c.numbers[:n], c.frac_coords[:n], c.lattice, c.name) for c, n in filled]
    relaxations = relax(hosts, 0, RelaxSettings("cell", fmax, steps), model=model, device=device, progress=progress)
    pairs = []
    for (_, ion), (reference, n), found in zip(chosen, filled, relaxations, strict=True):
        if found.diverged:
            report.diverged += 1
            continue
        pair = _pair(reference, n, ion, found)
        if pair is None:
            report.changed += 1
            continue
        report.made += 1
        pairs.append(pair)
    return pairs


def _guests_last(crystal: Crystal, ion: int) -> tuple[Crystal, int]:
    """The crystal with its ions behind its other atoms, and how many others there are."""
    taken = crystal.numbers == ion
    if not taken.any() or taken.all():
        raise InputError(f"{crystal.name}: no host is left, or no ion of atomic number {ion} is in it")
    order = np.concatenate([np.flatnonzero(~taken), np.flatnonzero(taken)])
    ordered = Crystal(crystal.numbers[order], crystal.frac_coords[order], crystal.lattice, crystal.name)
    return ordered, int((~taken).sum())


def _pair(reference: Crystal, n: int, ion: int, found: Relaxation) -> ElectrodePair | None:
    """The pair, with the reference's origin; None if the framework has changed."""
    shift = found.crystal.frac_coords - reference.frac_coords[:n]
    # The forces do not hold the crystal in place; only the relative displacements are meaningful.
    shift -= shift.mean(axis=0)
    change = found.crystal.volume / reference.volume - 1.0
    rms = float(np.sqrt(((shift @ reference.lattice) ** 2).sum(axis=1).mean()))
    if abs(change) > MOST_VOLUME_CHANGE or rms > MOST_DISPLACEMENT:
        return None
    frac = reference.frac_coords[:n] + shift
    host = Crystal(reference.numbers[:n], frac - np.floor(frac), found.crystal.lattice, reference.name)
    info = {"recommended": 1, "volume_change_percent": -100.0 * change, "host_rms_displacement": rms}
    return ElectrodePair(host, reference, ion, len(reference) - n, info)
