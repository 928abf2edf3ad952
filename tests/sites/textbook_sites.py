"""Crystals from textbooks, each with an ion whose surroundings everybody agrees on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pymatgen.core import Lattice, Structure

from inpaint_hpc.crystals.batch import Crystal


@dataclass(frozen=True)
class TextbookSite:
    """One site of an ion that has been taken out of its crystal."""

    name: str
    space_group: str
    cell: tuple[float, ...]
    atoms: tuple[tuple[str, tuple[float, float, float]], ...]
    ion: str
    neighbours: dict[str, int]
    shape: str
    valence: float | None

    def host_and_site(self) -> tuple[Crystal, np.ndarray]:
        """The host without all of the ion, and one place of the ion, (1, 3)."""
        names, places = zip(*self.atoms, strict=True)
        full = Structure.from_spacegroup(self.space_group, Lattice.from_parameters(*self.cell), names, places)
        site = next(one.frac_coords for one in full if one.specie.symbol == self.ion)
        full.remove_species([self.ion])
        return Crystal.from_structure(full), np.array([site])


def _cubic(a: float) -> tuple[float, ...]:
    return (a, a, a, 90, 90, 90)


def _hexagonal(a: float, c: float) -> tuple[float, ...]:
    return (a, a, c, 90, 90, 120)


TEXTBOOK = [
    TextbookSite(
        "LiCoO2", "R-3m", _hexagonal(2.816, 14.05),
        (("Li", (0, 0, 0.5)), ("Co", (0, 0, 0)), ("O", (0, 0, 0.2605))), "Li", {"O": 6}, "octahedron", 1.0,
    ),
    TextbookSite(
        "LiTiS2", "P-3m1", _hexagonal(3.455, 6.195),
        (("Ti", (0, 0, 0)), ("Li", (0, 0, 0.5)), ("S", (1 / 3, 2 / 3, 0.23))), "Li", {"S": 6}, "octahedron", 1.0,
    ),
    TextbookSite(
        "NaCoO2, P2", "P6_3/mmc", _hexagonal(2.833, 10.88),
        (("Co", (0, 0, 0)), ("Na", (0, 0, 0.25)), ("O", (1 / 3, 2 / 3, 0.0908))), "Na", {"O": 6}, "trigonal prism", 1.2,
    ),
    TextbookSite(
        "LiMn2O4", "Fd-3m:2", _cubic(8.245),
        (("Li", (0.125, 0.125, 0.125)), ("Mn", (0.5, 0.5, 0.5)), ("O", (0.2631, 0.2631, 0.2631))),
        "Li", {"O": 4}, "tetrahedron", 1.0,
    ),
    TextbookSite(
        "MgAl2O4 without Al", "Fd-3m:2", _cubic(8.083),
        (("Mg", (0.125, 0.125, 0.125)), ("Al", (0.5, 0.5, 0.5)), ("O", (0.2624, 0.2624, 0.2624))),
        "Al", {"O": 6}, "octahedron", 3.0,
    ),
    TextbookSite(
        "LiFePO4", "Pnma", (10.332, 6.010, 4.692, 90, 90, 90),
        (
            ("Li", (0, 0, 0)), ("Fe", (0.2822, 0.25, 0.9747)), ("P", (0.0948, 0.25, 0.4182)),
            ("O", (0.0968, 0.25, 0.7428)), ("O", (0.4571, 0.25, 0.2060)), ("O", (0.1656, 0.0465, 0.2848)),
        ),
        "Li", {"O": 6}, "distorted octahedron", 1.0,
    ),
    TextbookSite(
        "NaWO3", "Pm-3m", _cubic(3.85),
        (("Na", (0.5, 0.5, 0.5)), ("W", (0, 0, 0)), ("O", (0.5, 0, 0))), "Na", {"O": 12}, "cuboctahedron", 1.2,
    ),
    TextbookSite(
        "CaF2", "Fm-3m", _cubic(5.463), (("Ca", (0, 0, 0)), ("F", (0.25, 0.25, 0.25))), "Ca", {"F": 8}, "cube", 2.0,
    ),
    TextbookSite(
        "CaF2 without F", "Fm-3m", _cubic(5.463),
        (("Ca", (0, 0, 0)), ("F", (0.25, 0.25, 0.25))), "F", {"Ca": 4}, "tetrahedron", 1.0,
    ),
    TextbookSite(
        "Li3OCl", "Pm-3m", _cubic(3.91),
        (("Li", (0, 0.5, 0.5)), ("O", (0.5, 0.5, 0.5)), ("Cl", (0, 0, 0))), "Li", {"O": 2, "Cl": 4}, "octahedron", 0.9,
    ),
    TextbookSite(
        "Na3PS4", "I-43m", _cubic(6.993),
        (("Na", (0, 0.5, 0.5)), ("P", (0, 0, 0)), ("S", (0.169, 0.169, 0.169))), "Na", {"S": 4}, "", 0.9,
    ),
    TextbookSite(
        "Ca5(PO4)3F", "P6_3/m", _hexagonal(9.367, 6.884),
        (
            ("Ca", (1 / 3, 2 / 3, 0.001)), ("Ca", (0.7572, 0.9929 - 1.0, 0.25)), ("P", (0.3981, 0.3688, 0.25)),
            ("O", (0.3262, 0.4843, 0.25)), ("O", (0.5880, 0.4668, 0.25)), ("O", (0.3415, 0.2569, 0.0704)),
            ("F", (0, 0, 0.25)),
        ),
        "Ca", {"O": 9}, "distorted tricapped trigonal prism", 2.0,
    ),
    TextbookSite(
        "LiC6", "P6/mmm", _hexagonal(4.31, 3.70),
        (("Li", (0, 0, 0)), ("C", (1 / 3, 0, 0.5))), "Li", {"C": 12}, "hexagonal prism", None,
    ),
    TextbookSite(
        "PdH", "Fm-3m", _cubic(4.09), (("Pd", (0, 0, 0)), ("H", (0.5, 0.5, 0.5))), "H", {"Pd": 6}, "octahedron", None,
    ),
    TextbookSite(
        "AlLi dilute", "Fm-3m", _cubic(4.05), (("Al", (0, 0, 0)), ("Li", (0.25, 0.25, 0.25))),
        "Li", {"Al": 4}, "tetrahedron", None,
    ),
]  # fmt: skip
