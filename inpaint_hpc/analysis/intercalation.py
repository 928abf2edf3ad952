"""Intercalation energies, voltages and convex hulls from energies of a host with different numbers of guests.

All energies are of one and the same host cell, in eV (cells of other sizes: divide energies and counts alike), and all
are of one potential.  Entropy, zero-point energy and the p V term are neglected, as is usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inpaint_hpc.errors import InputError

# Difference in the number of guests below which compositions are the same.
_SAME_COUNT = 1e-9


def intercalation_energy(energy: float, host_energy: float, n_guests: float, metal_energy: float) -> float:
    """Energy to insert a guest from its metal, eV per guest; negative if insertion is favourable.

    `[E(host + n A) - E(host) - n E(A metal)] / n`

    Args:
        energy: of the host with its guests, eV.
        host_energy: of the host without guests, eV.
        n_guests: number of guests n.
        metal_energy: of the guest's metal, eV per atom.

    Raises:
        InputError: no guests.
    """
    if not n_guests > 0:
        raise InputError(f"an intercalation energy needs at least one guest, not {n_guests}")
    return (energy - host_energy - n_guests * metal_energy) / n_guests


def average_voltage(
    energy: float, host_energy: float, n_guests: float, metal_energy: float, charge: float, host_guests: float = 0.0
) -> float:
    """Average voltage of a cell against the guest's metal, V.

    `-[E(n_2) - E(n_1) - (n_2 - n_1) E(A metal)] / [(n_2 - n_1) z e]`: M. K. Aydinol, A. F. Kohan, G. Ceder, K. Cho and
    J. Joannopoulos, Phys. Rev. B 56, 1354 (1997), with Gibbs energies approximated by energies at 0 K.

    Args:
        energy: of the discharged host, with n_2 guests, eV.
        host_energy: of the charged host, with n_1 guests, eV.
        n_guests: n_2.
        metal_energy: of the guest's metal, eV per atom.
        charge: z of the ion in elementary charges; see `ion_charge`.
        host_guests: n_1.

    Raises:
        InputError: no guests are inserted, or the charge is not positive.
    """
    if not charge > 0:
        raise InputError(f"the charge of the ion must be positive, not {charge}")
    return -intercalation_energy(energy, host_energy, n_guests - host_guests, metal_energy) / charge


def volume_change(volume: float, host_volume: float) -> float:
    """Change of the volume by intercalation in percent of the empty host's; both volumes of the same host cell."""
    return 100.0 * (volume / host_volume - 1.0)


@dataclass(frozen=True)
class VoltageStep:
    """A plateau of the voltage curve.

    Attributes:
        start, stop: numbers of guests between which two phases coexist.
        voltage: V against the guest's metal.
    """

    start: float
    stop: float
    voltage: float


@dataclass(frozen=True)
class IntercalationHull:
    """Ground states of a host over the number of its guests.

    Attributes:
        counts: number of guests of each entry given, float64 (K,).
        formation_energies: of each entry, eV per host cell, relative to the empty and the fullest host, float64 (K,):
            `E(n) - (n / N) E(N) - (1 - n / N) E(0)`.
        above_hull: of each entry, eV per host cell, float64 (K,), not negative.
        stable: rows of the entries on the hull, from the empty to the fullest host, int64 (S,).
    """

    counts: np.ndarray
    formation_energies: np.ndarray
    above_hull: np.ndarray
    stable: np.ndarray


def intercalation_hull(counts: Sequence[float], energies: Sequence[float]) -> IntercalationHull:
    """Lower convex hull of the energy over the number of guests.

    Shows which compositions are stable and which decompose into their neighbours on the hull: A. Urban, D.-H. Seo and
    G. Ceder, npj Comput. Mater. 2, 16002 (2016).

    Args:
        counts: number of guests of each entry; an entry without guests is needed.  There may be several entries of one
            count, e.g. different orderings.
        energies: eV per host cell.

    Raises:
        InputError: the lengths differ, a value is not finite, or the empty host or any filled one is missing.
    """
    n, energy = np.asarray(counts, dtype=np.float64), np.asarray(energies, dtype=np.float64)
    if n.shape != energy.shape or n.ndim != 1:
        raise InputError(f"{n.size} numbers of guests but {energy.size} energies")
    if not (np.isfinite(n).all() and np.isfinite(energy).all()):
        raise InputError("a number of guests or an energy is not a finite number")
    if not len(n) or abs(n.min()) > _SAME_COUNT or n.max() <= _SAME_COUNT:
        raise InputError("a hull needs the energy of the empty host and of at least one filled one")
    hull: list[int] = []
    for row in np.lexsort((energy, n)).tolist():
        if hull and n[row] - n[hull[-1]] <= _SAME_COUNT:
            continue  # of the same count, and not lower
        while len(hull) > 1 and not _is_below(hull[-2], hull[-1], row, n, energy):
            hull.pop()
        hull.append(row)
    stable = np.array(hull, dtype=np.int64)
    fraction = n / n.max()
    formation = energy - fraction * energy[stable[-1]] - (1 - fraction) * energy[stable[0]]
    above = np.maximum(energy - np.interp(n, n[stable], energy[stable]), 0.0)
    return IntercalationHull(n, formation, above, stable)


def _is_below(first: int, middle: int, last: int, n: np.ndarray, energy: np.ndarray) -> bool:
    """Whether a point lies below the line from its left to its right neighbour."""
    slope = (energy[last] - energy[first]) / (n[last] - n[first])
    return energy[middle] < energy[first] + slope * (n[middle] - n[first])


def voltage_curve(
    counts: Sequence[float], energies: Sequence[float], metal_energy: float, charge: float
) -> list[VoltageStep]:
    """Voltage between neighbouring ground states, from the empty host on; it falls from step to step.

    Between two compositions on the hull the host is a mixture of both and the voltage is constant, the average voltage
    of that reaction (`average_voltage`; sources there and in `intercalation_hull`).

    Args:
        counts, energies: as `intercalation_hull`.
        metal_energy: of the guest's metal, eV per atom.
        charge: of the ion, in elementary charges.

    Raises:
        InputError: as `intercalation_hull`, or the charge is not positive.
    """
    stable = intercalation_hull(counts, energies).stable
    n, energy = np.asarray(counts, dtype=np.float64)[stable], np.asarray(energies, dtype=np.float64)[stable]
    return [
        VoltageStep(
            float(n[k]),
            float(n[k + 1]),
            float(average_voltage(energy[k + 1], energy[k], n[k + 1], metal_energy, charge, n[k])),
        )
        for k in range(len(stable) - 1)
    ]
