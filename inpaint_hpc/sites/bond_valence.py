"""Bond lengths and valence sums from two parameters of each element.

M. O'Keeffe and N. E. Brese, J. Am. Chem. Soc. 113, 3226 (1991), as pymatgen has them: the length of a bond of valence 1
for any pair of elements, within 0.05 A of those that are tabulated for pairs (N. E. Brese and M. O'Keeffe, Acta Cryst.
B47, 192 (1991)), so a sum is right to about 10 %.
"""

from __future__ import annotations

from functools import cache

import numpy as np

SOFTNESS = 0.37  # A; I. D. Brown and D. Altermatt, Acta Cryst. B41, 244 (1985)
# Less polar bonds have no bond valence worth the name: C and Si around Li, B around Mg, metals in metals.
_ANIONS = frozenset(["N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"])
_LEAST_DIFFERENCE = 0.9  # Pauling's electronegativities; N and O around Zn and Cu count, P around them does not


@cache
def unit_length(first: int, second: int) -> float | None:
    """Length in A of a bond of valence 1 between two elements; None where a parameter is missing."""
    from ase.data import chemical_symbols
    from pymatgen.analysis.bond_valence import BV_PARAMS
    from pymatgen.core import Element

    ends = [BV_PARAMS.get(Element(chemical_symbols[z])) for z in (first, second)]
    (r, c), (s, d) = ((end["r"], end["c"]) if end else (0.0, 0.0) for end in ends)
    if not r or not s:
        return None
    return r + s - r * s * (c**0.5 - d**0.5) ** 2 / (c * r + d * s)


@cache
def typical_length(first: int, second: int) -> float:
    """The same, or the sum of covalent radii where it is not known."""
    from ase.data import covalent_radii

    known = unit_length(first, second)
    return float(covalent_radii[first] + covalent_radii[second]) if known is None else known


@cache
def electronegativity(number: int) -> float:
    """Pauling's; 0 where there is none."""
    from ase.data import chemical_symbols
    from pymatgen.core import Element

    x = Element(chemical_symbols[number]).data.get("X")
    return float(x) if x is not None and x == x else 0.0


def valence_sum(number: int, neighbours: np.ndarray, distances: np.ndarray) -> float | None:
    """Sum of exp((R - d) / 0.37 A) over the bonds of an atom; None where one is not polar or has no parameters."""
    bonds = {int(z): unit_length(number, int(z)) for z in np.unique(neighbours)}
    if not bonds or any(length is None or not _polar(number, z) for z, length in bonds.items()):
        return None
    lengths = np.array([bonds[int(z)] for z in neighbours])
    return float(np.exp((lengths - distances) / SOFTNESS).sum())


def _polar(first: int, second: int) -> bool:
    from ase.data import chemical_symbols

    less, more = sorted((first, second), key=electronegativity)
    difference = electronegativity(more) - electronegativity(less)
    return chemical_symbols[more] in _ANIONS and difference >= _LEAST_DIFFERENCE
