"""Checks whether samples are physically possible: not too close to host atoms and other guests, and not out of reach.

A potential cannot be trusted to decide this: CHGNet can give its lowest energy to a guest on top of a host atom.

Rule: two atoms, images included, are too close below `CONTACT` = 0.6 times the sum of their covalent radii
(B. Cordero et al., Dalton Trans. 2008, 2832, as tabulated by ASE): Li-O 1.16 A, Li-Mn 1.60 A, Li-Li 1.54 A, K-O 1.61 A.
A cell is overfull above `PACKING` = 0.40, the volume fraction of the spheres of those contact radii.

Calibration (`python benchmarks/minimum_distances.py mp_train.h5`, all 130,485 Materials Project crystals of 2-64 atoms,
every atom taken as a guest): the distance rule rejects 0.14 % of the real crystals, or 0.32 % with a
factor of 0.65; the densest crystal has packing 0.388.  Electrodes (`electrodes_dev.h5`, `electrodes_train.h5`, true
guests in the host that was relaxed without them): 1 of 1,565.

Every guest must also be connected with the host by bonds, to host atoms or through other guests.  A bond to a host
atom is at most `REACH` = 1.6 times the sum of the covalent radii long (Li-O 3.10 A, Na-N 3.79 A, K-O 4.30 A), a bond
between guests `GUEST_REACH` = 1.25 times (Li-Li 3.20 A), or chains of guests would lead far into empty space.
Calibration (`python benchmarks/guest_bonds.py mp_train.h5 --split train`; ions Li Na Mg Al K Ca Zn Rb Sr Cs Ba, each
taken as guests from all their crystals): of 406,034 sites 0.020 % are refused, none of Na, K, Rb and Cs; 0.056 % with
1.4, and Na would not fit into Prussian blue.  Not used for the choice: none of 5,875 sites of `wbm_dev.h5` and 1,276
true guests of `electrodes_dev.h5`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError

from .minimum_image import PeriodicCell

CONTACT = 0.6
REACH = 1.6
GUEST_REACH = 1.25
PACKING = 0.40
UNKNOWN_RADIUS = 1.5  # A, for the few elements without a tabulated radius


@dataclass(frozen=True)
class Validity:
    """Result of the check for each of S samples.

    Attributes:
        invalid: bool (S,).
        min_distance: smallest distance in A of any guest to a host atom, another guest or an image of itself, (S,);
            NaN where a coordinate is not finite.
        reason: one line for each invalid sample, '' for valid ones, length S.
    """

    invalid: np.ndarray
    min_distance: np.ndarray
    reason: list[str]

    def __len__(self) -> int:
        return len(self.invalid)


def contact_radii(numbers: ArrayLike) -> np.ndarray:
    """0.6 x covalent radius in A of atomic numbers (n,): atoms closer than the sum of these are impossible."""
    from ase.data import covalent_radii

    numbers = np.asarray(numbers, dtype=np.int64)
    known = (numbers > 0) & (numbers < len(covalent_radii))
    radii = np.where(known, covalent_radii[np.where(known, numbers, 0)], 0.0)
    # ASE writes 0.2 A where Cordero has no value.
    return CONTACT * np.where(radii > 0.2, radii, UNKNOWN_RADIUS)


def packing_fraction(numbers: ArrayLike, volume: float) -> float:
    """Volume fraction of spheres of the contact radii of atoms `numbers` (n,) in a cell of `volume` A^3."""
    return float((4.0 / 3.0 * np.pi * contact_radii(numbers) ** 3).sum() / volume)


def require_room(host: Crystal, guest_numbers: ArrayLike) -> None:
    """Refuse guests that the cell cannot hold, whatever their positions.

    Raises:
        InputError: the packing fraction of host and guests would exceed `PACKING`, or a guest would touch its own
            image because the cell is too thin.
    """
    from ase.data import chemical_symbols

    guest_numbers = np.asarray(guest_numbers, dtype=np.int64)
    packing = packing_fraction(np.concatenate([host.numbers, guest_numbers]), host.volume)
    if packing > PACKING:
        label = ", ".join(f"{chemical_symbols[z]}={(guest_numbers == z).sum()}" for z in np.unique(guest_numbers))
        raise InputError(
            f"{host.name or 'host'}: {label} is more than the cell of {host.volume:.0f} A^3 can hold "
            f"(packing {packing:.2f}, real crystals stay below {PACKING:.2f}); ask for fewer guests or a larger cell"
        )
    shortest = PeriodicCell(host.lattice).shortest
    for z in np.unique(guest_numbers):
        limit = 2.0 * float(contact_radii([z])[0])
        if shortest < limit:
            raise InputError(
                f"{host.name or 'host'}: {chemical_symbols[z]} would be {shortest:.2f} A from its own periodic image "
                f"(at least {limit:.2f} A needed); give a supercell"
            )


def invalid_samples(host: Crystal, guest_numbers: ArrayLike, frac_coords: np.ndarray) -> Validity:
    """Mark samples with a guest too close to a host atom, to another guest, or to an image of itself, or without bonds.

    In a cell without host atoms nothing is out of reach.

    Args:
        host: the host crystal (may be empty).
        guest_numbers: atomic numbers of the guests, (n,), at least one.
        frac_coords: fractional coordinates of S samples, (S, n, 3), wrapped or not.
    """
    guest_numbers = np.asarray(guest_numbers, dtype=np.int64)
    frac_coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, len(guest_numbers), 3)
    n_samples, n_guests = frac_coords.shape[:2]
    finite: np.ndarray = np.logical_and.reduce(np.isfinite(frac_coords), axis=(1, 2))
    positions = np.where(finite[:, None, None], frac_coords, 0.0)

    cell = PeriodicCell(host.lattice)
    radii = contact_radii(guest_numbers)
    to_host = cell.distances(positions, host.frac_coords)
    to_guest = cell.distances(positions, positions)
    to_guest[:, np.arange(n_guests), np.arange(n_guests)] = cell.shortest
    distances = np.concatenate([to_host, to_guest], axis=2)
    distances = distances.reshape(n_samples, n_guests * (len(host) + n_guests))
    limits = radii[:, None] + np.concatenate([contact_radii(host.numbers), radii])[None]
    # Report the pair furthest below its own limit, which need not be the shortest.
    ratio = distances / limits.reshape(-1)
    worst = ratio.argmin(axis=1)
    close: np.ndarray = ~finite | (ratio.min(axis=1) < 1.0)
    ratio = ratio.reshape(to_host.shape[:2] + (len(host) + n_guests,))
    bonded = _bonded(ratio[:, :, : len(host)], ratio[:, :, len(host) :])
    invalid: np.ndarray = close | ~bonded.all(axis=1)
    minimum = np.where(finite, distances.min(axis=1), np.nan)
    reasons = [""] * n_samples
    for s in np.flatnonzero(invalid):
        if close[s]:
            distance = float(distances[s, worst[s]])
            reasons[s] = _reason(host, guest_numbers, int(worst[s]), distance, limits, bool(finite[s]))
        else:
            guest = int(bonded[s].argmin())
            to_atoms = np.where(np.arange(ratio.shape[2]) == len(host) + guest, np.inf, ratio[s, guest])
            reasons[s] = _out_of_reach(host, guest_numbers[guest], to_atoms, limits[guest])
    return Validity(invalid, minimum, reasons)


def connected_guests(host: Crystal, guest_numbers: ArrayLike, frac_coords: np.ndarray) -> np.ndarray:
    """Which guests of S samples (S, n, 3) are connected with the host by bonds, bool (S, n); all where it is empty."""
    cell, radii = PeriodicCell(host.lattice), contact_radii(guest_numbers)
    to_host = cell.distances(frac_coords, host.frac_coords) / (radii[:, None] + contact_radii(host.numbers)[None])
    return _bonded(to_host, cell.distances(frac_coords, frac_coords) / (radii[:, None] + radii[None]))


def _bonded(to_host: np.ndarray, to_guest: np.ndarray) -> np.ndarray:
    """As `connected_guests`, from distances in units of the smallest possible ones, (S, n, N) and (S, n, n)."""
    if not to_host.shape[2]:
        return np.ones(to_host.shape[:2], dtype=bool)
    bonded: np.ndarray = to_host.min(axis=2) <= REACH / CONTACT
    # Nearly all guests have a bond to the host itself; only the samples of the others are looked at again.
    rows = np.flatnonzero(~bonded.all(axis=1))
    neighbours, known = to_guest[rows] <= GUEST_REACH / CONTACT, bonded[rows]
    while len(rows):
        more = known | (neighbours & known[:, None]).any(axis=2)
        if (more == known).all():
            break
        known = more
    bonded[rows] = known
    return bonded


def _out_of_reach(host: Crystal, number: int, ratio: np.ndarray, limits: np.ndarray) -> str:
    """Why a guest has no bonds, from its distances in units of the smallest possible ones and these, (N + n,)."""
    from ase.data import chemical_symbols

    reach = np.where(np.arange(len(ratio)) < len(host), REACH, GUEST_REACH) / CONTACT
    nearest = int((ratio / reach).argmin())
    symbol, distance = chemical_symbols[number], ratio[nearest] * limits[nearest]
    if ratio[nearest] <= reach[nearest]:
        return f"{symbol} has bonds to other guests alone, none of which has one to the host"
    limit = limits[nearest] * reach[nearest]
    return f"no atom within {limit:.2f} A of {symbol} (the nearest is {distance:.2f} A away)"


def _reason(
    host: Crystal, guest_numbers: np.ndarray, pair: int, distance: float, limits: np.ndarray, finite: bool
) -> str:
    from ase.data import chemical_symbols

    if not finite:
        return "a coordinate is not a finite number"
    guest, other = divmod(pair, limits.shape[1])
    symbol = chemical_symbols[guest_numbers[guest]]
    if other < len(host):
        what = f"host {chemical_symbols[host.numbers[other]]}"
    elif other - len(host) == guest:
        what = "its own image"
    else:
        what = f"guest {chemical_symbols[guest_numbers[other - len(host)]]}"
    return f"{symbol} is {distance:.2f} A from {what} (at least {limits[guest, other]:.2f} A)"
