"""Which host atoms surround a site.

Two rules.  Only ligands count: in a host with anions the metals behind them are no neighbours of a cation, however near
they are.  Of the ligands, by distance over the length of a bond of valence 1 between the two elements,

- those with half the weight of an average bond are in the shell (effective coordination: R. Hoppe, Z. Kristallogr. 150,
  23 (1979)), and eight of these fill it; so are the nearest three within 1.4 times the nearest; none with less than a
  fifth of the weight is, unless it is one of the nearest six and within 1.4 times the nearest;
- between these bounds the shell ends at the largest gap in the reciprocal distances (G. O. Brunner, Acta Cryst. A33,
  226 (1977)).

The gap alone would end the shell of an ion that is off the centre of its site after one atom; the weights alone would
miss the longer bonds of a site that is too narrow before relaxation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.minimum_image import PeriodicCell

from .bond_valence import electronegativity, typical_length, valence_sum
from .periodic_points import PeriodicPoints

LOOK = 6.0  # A; the first shell of an ion ends well before
STRONG, WEAK = 0.5, 0.2
LEAST, FEW, FAR, ENOUGH = 3, 6, 1.4, 8
_NONMETALS = frozenset(["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Sb", "Te", "I"])
_LIKE = 0.6  # Pauling's electronegativities: C beside N, S beside I, Cl beside O are ligands; P beside O is not
_BONDED = 1.25  # times the sum of covalent radii
_SELF = 0.1  # A; nearer is the atom itself
_SHIELDED = 4  # bonds to more electronegative atoms: P in PS4, Cl in ClO4


@dataclass(frozen=True, eq=False)
class Shell:
    """The neighbours of one site, nearest first by distance over typical length.

    Attributes:
        numbers: atomic numbers of the neighbours, (n,).
        vectors: from the site to them in A, (n, 3).
        scaled: their distances over the typical length of such a bond, (n,).
        valence: bond valence sum of the site over all ligands within `LOOK`; None where it has no meaning.
    """

    numbers: np.ndarray
    vectors: np.ndarray
    scaled: np.ndarray
    valence: float | None

    @cached_property
    def distances(self) -> np.ndarray:
        """In A, (n,)."""
        return np.linalg.norm(self.vectors, axis=1)

    def by_element(self) -> dict[str, tuple[int, float]]:
        """Element -> (number of neighbours, their mean distance in A), nearest element first."""
        from ase.data import chemical_symbols

        near = self.distances
        groups = [(z, near[self.numbers == z]) for z in sorted(set(self.numbers.tolist()))]
        groups.sort(key=lambda one: one[1].min())
        return {chemical_symbols[z]: (len(d), float(d.mean())) for z, d in groups}


def shells(host: Crystal, points: PeriodicPoints, frac_coords: np.ndarray, guests: np.ndarray | int) -> list[Shell]:
    """Neighbours of sites.

    Args:
        host: the host.
        points: its atoms, with a reach of `LOOK`.
        frac_coords: sites, (n, 3).
        guests: atomic numbers of the ions there, (n,), or one for all.

    Returns:
        A shell for each site, empty where no host atom is within `LOOK`.
    """
    ions = np.broadcast_to(np.asarray(guests, dtype=np.int64), len(frac_coords))
    ligands = {z: _ligands(host, points, z) for z in set(ions.tolist())}
    rows, atoms, vectors = points.pairs(frac_coords)
    distances = np.linalg.norm(vectors, axis=1)
    found = []
    for site, ion in enumerate(ions.tolist()):
        around = np.flatnonzero((rows == site) & ligands[ion][atoms])
        numbers = host.numbers[atoms[around]]
        scaled = distances[around] / np.array([typical_length(ion, z) for z in numbers.tolist()])
        order = np.argsort(scaled, kind="stable")
        inside = order[: _size(scaled[order])]
        valence = valence_sum(ion, numbers, distances[around])
        found.append(Shell(numbers[inside], vectors[around[inside]], scaled[inside], valence))
    return found


def _size(scaled: np.ndarray) -> int:
    """How many of the sorted neighbours are in the shell."""
    if len(scaled) < 2:
        return len(scaled)
    weights = _weights(np.maximum(scaled, 1e-3))
    near = int((scaled[:FEW] <= FAR * scaled[0]).sum())
    least = max(int((weights >= STRONG).sum()), min(near, LEAST))
    most = least if least >= ENOUGH else max(int((weights >= WEAK).sum()), near, least)
    inverse = np.append(1.0 / np.maximum(scaled, 1e-3), 0.0)
    gaps = -np.diff(inverse)[least - 1 : most]
    # Of gaps equal up to rounding take the inner one, or images of one crystal would differ.
    return least + int(np.flatnonzero(gaps >= gaps.max() - 1e-6)[0])


def _weights(scaled: np.ndarray) -> np.ndarray:
    """Hoppe's weights of bonds, 1 for one of the average length, which is weighted in the same way."""
    mean = scaled[0]
    for _ in range(12):
        weights = np.exp(1.0 - (scaled / mean) ** 6)
        mean = (weights * scaled).sum() / weights.sum()
    return np.exp(1.0 - (scaled / mean) ** 6)


def _ligands(host: Crystal, points: PeriodicPoints, ion: int) -> np.ndarray:
    """Which host atoms can be neighbours of an ion, bool (atoms,): anions of a cation, and the other way round."""
    from ase.data import chemical_symbols

    anions = anion_atoms(host, points)
    if anions.all():
        return anions
    x = max(electronegativity(int(z)) for z in host.numbers)
    guest_is_anion = chemical_symbols[ion] in _NONMETALS and electronegativity(ion) >= x - _LIKE
    return ~anions if guest_is_anion else anions


def anion_atoms(host: Crystal, points: PeriodicPoints) -> np.ndarray:
    """Which host atoms are anions, bool (atoms,); all of them where there are none: an alloy."""
    from ase.data import chemical_symbols, covalent_radii

    x = np.array([electronegativity(int(z)) for z in host.numbers])
    anions = np.array([chemical_symbols[z] in _NONMETALS for z in host.numbers]) & (x >= x.max() - _LIKE)
    if not len(x) or not anions[x == x.max()].all():
        return np.ones(len(x), dtype=bool)  # an alloy
    doubtful = np.flatnonzero(anions & (x < x.max()))
    if len(doubtful):
        rows, atoms, vectors = points.pairs(host.frac_coords[doubtful])
        centres = doubtful[rows]
        limits = _BONDED * (covalent_radii[host.numbers[centres]] + covalent_radii[host.numbers[atoms]])
        bonds = (np.linalg.norm(vectors, axis=1) < limits) & anions[atoms] & (x[atoms] > x[centres])
        anions[np.bincount(centres[bonds], minlength=len(x)) >= _SHIELDED] = False
    return anions


def surroundings(host: Crystal) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """What surrounds the atoms of a crystal itself: anions each other atom, in an alloy all atoms each other.

    Returns:
        Which atoms are anions, all of them in an alloy, bool (atoms,); and atoms with the vectors to their shell in A.
    """
    from ase.data import covalent_radii

    if not len(host):
        return np.zeros(0, dtype=bool), []
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    anions = anion_atoms(host, points)
    centres = np.arange(len(host)) if anions.all() else np.flatnonzero(~anions)
    rows, atoms, vectors = points.pairs(host.frac_coords[centres])
    distances = np.linalg.norm(vectors, axis=1)
    usable = anions[atoms] & (distances > _SELF)
    found = []
    for row, center in enumerate(centres.tolist()):
        around = np.flatnonzero((rows == row) & usable)
        element, others = int(host.numbers[center]), host.numbers[atoms[around]]
        # Parameters of bond valences mean nothing between metals.
        lengths = (
            covalent_radii[element] + covalent_radii[others]
            if anions.all()
            else np.array([typical_length(element, int(z)) for z in others])
        )
        scaled = distances[around] / lengths
        order = np.argsort(scaled, kind="stable")
        found.append((center, vectors[around[order[: _size(scaled[order])]]]))
    return anions, found


def coordination(
    host: Crystal, points: PeriodicPoints, frac_coords: np.ndarray, guests: np.ndarray | int
) -> list[dict[str, tuple[int, float]]]:
    """As `shells`, each as element -> (number of neighbours, their mean distance in A), nearest element first."""
    return [shell.by_element() for shell in shells(host, points, frac_coords, guests)]
