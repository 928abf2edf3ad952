"""What relaxation did to the first candidate beyond settling it, one line each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import Task

from .results import Candidate

GUEST_MOVED = 1.0  # A; sites are usually farther apart
HOST_MOVED = 0.5  # A
VOLUME_CHANGED = 15.0  # %
BONDED = 1.2  # times the sum of the covalent radii
BROKEN = 1.3  # times the bond's length before


def relaxation_notes(task: Task, candidates: Sequence[Candidate]) -> list[str]:
    """Notes on the first candidate: guests that left, the volume, host atoms that moved, and broken bonds."""
    if not candidates or not len(task.host) or candidates[0].relaxed is None or not candidates[0].relaxed.sound:
        return []
    from ase.data import chemical_symbols

    first, host = candidates[0], task.host
    assert first.relaxed is not None  # as above
    relaxed = first.relaxed.crystal(host, task.guests)
    moves, drift = _host_moves(host, relaxed)
    guests = PeriodicCell(host.lattice).vectors(relaxed.frac_coords[len(host) :] - first.guest_frac_coords) - drift
    notes = []
    for z, distance in zip(task.guests, np.linalg.norm(guests, axis=1), strict=True):
        if distance > GUEST_MOVED:
            notes.append(f"relaxation: {chemical_symbols[z]} of the first candidate left its site by {distance:.1f} A")
    percent = 100 * (relaxed.volume / host.volume - 1)
    if abs(percent) > VOLUME_CHANGED:
        notes.append(f"relaxation: the volume of the first candidate changed by {percent:+.0f} %")
    hosts = np.linalg.norm(moves - drift, axis=1)
    if hosts.max() > HOST_MOVED:
        symbol = chemical_symbols[host.numbers[hosts.argmax()]]
        notes.append(f"relaxation: host atoms of the first candidate moved, {symbol} by {hosts.max():.1f} A")
    broken = _broken_bonds(host, relaxed)
    if broken:
        notes.append(f"relaxation: {_bonds(broken)} of the first candidate broke, {_longest(host, broken)}")
    return notes


def framework_departure(host: Crystal, relaxed: Crystal) -> str:
    """How a relaxed structure, host atoms first, left the framework of its host: bonds that broke; '' if none did."""
    broken = _broken_bonds(host, relaxed)
    return f"{_bonds(broken)} broke, {_longest(host, broken)}" if broken else ""


def _host_moves(host: Crystal, relaxed: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Paths of the host atoms within the cell as it was, and their mean, a drift of everything."""
    moves = PeriodicCell(host.lattice).vectors(relaxed.frac_coords[: len(host)] - host.frac_coords)
    return moves, moves.mean(axis=0)


def _bonds(broken: Sequence[tuple[float, float, int, int]]) -> str:
    return "a host bond" if len(broken) == 1 else f"{len(broken)} host bonds"


def _longest(host: Crystal, broken: Sequence[tuple[float, float, int, int]]) -> str:
    from ase.data import chemical_symbols

    before, after, i, j = max(broken, key=lambda bond: bond[1] / bond[0])
    pair = "-".join(chemical_symbols[host.numbers[k]] for k in (i, j))
    return f"{pair} from {before:.2f} to {after:.2f} A"


def _broken_bonds(host: Crystal, relaxed: Crystal) -> list[tuple[float, float, int, int]]:
    """Lengths before and after and the atoms of bonds that broke, each once; metals have none among themselves."""
    from ase.neighborlist import natural_cutoffs, neighbor_list
    from pymatgen.core import Element

    n = len(host)
    first, second, length, vectors, cells = neighbor_list(
        "ijdDS", host.to_atoms(), natural_cutoffs(host.to_atoms(), mult=BONDED)
    )
    metals = np.array([Element.from_Z(int(z)).is_metal for z in host.numbers])
    # Coordinates may have been wrapped on the way.
    moves = PeriodicCell(host.lattice).vectors(relaxed.frac_coords[:n] - host.frac_coords)
    frac = (vectors + moves[second] - moves[first]) @ np.linalg.inv(host.lattice)
    after = np.linalg.norm(frac @ relaxed.lattice, axis=1)
    once = (first < second) | ((first == second) & (np.array([tuple(c) > (0, 0, 0) for c in cells], dtype=bool)))
    chosen = once & ~(metals[first] & metals[second]) & (after > BROKEN * length)
    return [(float(length[k]), float(after[k]), int(first[k]), int(second[k])) for k in np.flatnonzero(chosen)]
