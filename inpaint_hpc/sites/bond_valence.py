"""Bond lengths and valence sums from two parameters of each element.

M. O'Keeffe and N. E. Brese, J. Am. Chem. Soc. 113, 3226 (1991): the length of a bond of valence 1 for any pair of
elements, within 0.06 A of those that are tabulated for pairs (N. E. Brese and M. O'Keeffe, Acta Cryst. B47, 192
(1991)), so a sum is right to about 15 %.
"""

from __future__ import annotations

from functools import cache

import numpy as np

SOFTNESS = 0.37  # A; I. D. Brown and D. Altermatt, Acta Cryst. B41, 244 (1985)
# Less polar bonds have no bond valence worth the name: C and Si around Li, B around Mg, metals in metals.
_ANIONS = frozenset(["N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"])
_LEAST_DIFFERENCE = 0.9  # Pauling's electronegativities; N and O around Zn and Cu count, P around them does not

# Size in A and electronegativity of each element; the values that pymatgen has, which takes long to read its file.
_PARAMETERS = {
    "H": (0.38, 0.89), "Li": (1, 0.97), "Be": (0.81, 1.47), "B": (0.79, 1.6), "C": (0.78, 2), "N": (0.72, 2.61),
    "O": (0.63, 3.15), "F": (0.58, 3.98), "Na": (1.36, 1.01), "Mg": (1.21, 1.23), "Al": (1.13, 1.47),
    "Si": (1.12, 1.58), "P": (1.09, 1.96), "S": (1.03, 2.35), "Cl": (0.99, 2.74), "K": (1.73, 0.91), "Ca": (1.5, 1.04),
    "Sc": (1.34, 1.2), "Ti": (1.27, 1.32), "V": (1.21, 1.45), "Cr": (1.16, 1.56), "Mn": (1.17, 1.6),
    "Fe": (1.16, 1.64), "Co": (1.09, 1.7), "Ni": (1.04, 1.75), "Cu": (0.87, 1.75), "Zn": (1.07, 1.66),
    "Ga": (1.14, 1.82), "Ge": (1.21, 1.51), "As": (1.21, 2.23), "Se": (1.18, 2.51), "Br": (1.13, 2.58),
    "Rb": (1.84, 0.89), "Sr": (1.66, 0.99), "Y": (1.52, 1.11), "Zr": (1.43, 1.22), "Nb": (1.4, 1.23),
    "Mo": (1.37, 1.3), "Ru": (1.21, 1.42), "Rh": (1.18, 1.54), "Pd": (1.11, 1.35), "Ag": (1.12, 1.42),
    "Cd": (1.28, 1.46), "In": (1.34, 1.49), "Sn": (1.37, 1.72), "Sb": (1.41, 1.72), "Te": (1.4, 2.72),
    "I": (1.33, 2.38), "Cs": (2.05, 0.86), "Ba": (1.88, 0.97), "La": (1.71, 1.08), "Ce": (1.68, 1.08),
    "Pr": (1.66, 1.07), "Nd": (1.64, 1.07), "Sm": (1.61, 1.07), "Eu": (1.62, 1.01), "Gd": (1.58, 1.11),
    "Tb": (1.56, 1.1), "Dy": (1.54, 1.1), "Ho": (1.53, 1.1), "Er": (1.51, 1.11), "Tm": (1.5, 1.11), "Yb": (1.49, 1.06),
    "Lu": (1.47, 1.14), "Hf": (1.42, 1.23), "Ta": (1.39, 1.33), "W": (1.38, 1.4), "Re": (1.37, 1.46),
    "Ir": (1.37, 1.55), "Hg": (1.32, 1.44), "Tl": (1.62, 1.44), "Pb": (1.53, 1.55), "Bi": (1.54, 1.67),
    "Th": (1.7, 1.11), "U": (1.59, 1.22),
}  # fmt: skip


@cache
def unit_length(first: int, second: int) -> float | None:
    """Length in A of a bond of valence 1 between two elements; None where a parameter is missing."""
    from ase.data import chemical_symbols

    if chemical_symbols[first] not in _PARAMETERS or chemical_symbols[second] not in _PARAMETERS:
        return None
    (r, c), (s, d) = (_PARAMETERS[chemical_symbols[z]] for z in (first, second))
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
    elements = neighbours.tolist()
    bonds = {z: unit_length(number, z) for z in set(elements)}
    if not bonds or any(length is None or not _polar(number, z) for z, length in bonds.items()):
        return None
    lengths = np.array([bonds[z] for z in elements])
    return float(np.exp((lengths - distances) / SOFTNESS).sum())


def _polar(first: int, second: int) -> bool:
    from ase.data import chemical_symbols

    less, more = sorted((first, second), key=electronegativity)
    difference = electronegativity(more) - electronegativity(less)
    return chemical_symbols[more] in _ANIONS and difference >= _LEAST_DIFFERENCE
