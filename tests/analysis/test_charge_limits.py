"""How many ions fit by charge: textbook hosts, and those without oxidation states."""

import numpy as np
import pytest
from example_hosts import MNO2, SPINEL
from pymatgen.core import Lattice, Structure

from inpaint_hpc.analysis.charge_limits import charge_limits, oxidation_states
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts

LI, NA, MG = 3, 11, 12


def host(group, lattice, atoms):
    """A crystal from its space group and the positions of its asymmetric unit."""
    symbols, positions = zip(*atoms, strict=True)
    return Crystal.from_structure(Structure.from_spacegroup(group, lattice, list(symbols), list(positions)))


# Heterosite: A. S. Andersson et al., Solid State Ionics 130, 41 (2000).
FEPO4 = host(
    "Pnma", Lattice.orthorhombic(9.823, 5.789, 4.782),
    [("Fe", (0.275, 0.25, 0.948)), ("P", (0.094, 0.25, 0.395)), ("O", (0.122, 0.25, 0.709)),
     ("O", (0.439, 0.25, 0.159)), ("O", (0.167, 0.044, 0.25))],
)  # fmt: skip
V2O5 = Crystal.from_structure(
    Structure(
        Lattice.orthorhombic(11.512, 3.564, 4.368),
        ["V"] * 4 + ["O"] * 10,
        [
            *[(x, 0.75, 0.1083) for x in (0.8988, 0.6012)], *[(x, 0.25, 0.8917) for x in (0.3988, 0.1012)],
            *[(x, 0.75, 0.469) for x in (0.8957, 0.6043)], *[(x, 0.25, 0.531) for x in (0.3957, 0.1043)],
            *[(x, 0.75, 0.997) for x in (0.0689, 0.4311)], *[(x, 0.25, 0.003) for x in (0.5689, 0.9311)],
            (0.75, 0.75, 0.999), (0.25, 0.25, 0.001),
        ],
    )
)  # fmt: skip
TIS2 = host("P-3m1", Lattice.hexagonal(3.407, 5.695), [("Ti", (0, 0, 0)), ("S", (1 / 3, 2 / 3, 0.249))])
PRUSSIAN_BLUE = host(
    "Fm-3m", Lattice.cubic(10.2),
    [("Fe", (0, 0, 0)), ("Fe", (0.5, 0, 0)), ("C", (0.19, 0, 0)), ("N", (0.303, 0, 0))],
)  # fmt: skip
PYRITE = host("Pa-3", Lattice.cubic(5.416), [("Fe", (0, 0, 0)), ("S", (0.385, 0.385, 0.385))])
GRAPHITE = host("P6/mmm", Lattice.hexagonal(2.46, 3.35), [("C", (1 / 3, 2 / 3, 0))])
NIAL = host("Pm-3m", Lattice.cubic(2.88), [("Ni", (0, 0, 0)), ("Al", (0.5, 0.5, 0.5))])
ROCK_SALT = host("Fm-3m", Lattice.cubic(4.21), [("Mg", (0, 0, 0)), ("O", (0.5, 0.5, 0.5))])


def limits(crystal, guest):
    return [(one.states, one.guests, one.x, one.formula) for one in charge_limits(crystal, guest).limits]


@pytest.mark.parametrize(
    ("crystal", "guest", "expected"),
    [
        (FEPO4, LI, [({"Fe": 2}, 4, 1, "LiFePO4")]),
        (SPINEL, LI, [({"Mn": 3}, 4, 1, "LiMnO2"), ({"Mn": 2}, 8, 2, "Li2MnO2")]),
        (SPINEL, MG, [({"Mn": 3}, 2, 0.5, "Mg0.5MnO2"), ({"Mn": 2}, 4, 1, "MgMnO2")]),
        (V2O5, LI, [({"V": 4}, 4, 2, "Li2V2O5"), ({"V": 3}, 8, 4, "Li4V2O5")]),
        (TIS2, LI, [({"Ti": 3}, 1, 1, "LiTiS2")]),
        (PRUSSIAN_BLUE, NA, [({"Fe": 2}, 8, 1, "NaFe(CN)3")]),
    ],
)
def test_textbook_hosts(crystal, guest, expected):
    assert limits(crystal, guest) == expected
    assert charge_limits(crystal, guest).reason == ""


def test_an_odd_number_of_metals_takes_half_a_magnesium():
    (delta,) = read_hosts([MNO2 / "delta_mp-25223.cif"])
    assert limits(delta, MG)[0] == ({"Mn": 3}, 0.5, 0.5, "Mg0.5MnO2")


def test_ions_that_the_host_holds_already_count_for_x():
    half = SPINEL.with_guests([LI] * 2, np.array([[0.125] * 3, [0.875] * 3]))
    assert oxidation_states(half)[0]["Mn"] == 3.5  # one metal: a mean of two states
    assert limits(half, LI)[0] == ({"Mn": 3}, 2, 1, "LiMnO2")


def test_of_several_metals_only_the_sum_is_known():
    numbers = SPINEL.numbers.copy()
    numbers[np.flatnonzero(numbers == 25)[:2]] = 28
    mixed = Crystal(numbers, SPINEL.frac_coords, SPINEL.lattice)
    assert limits(mixed, LI) == [({"Mn": 2, "Ni": 2}, 8, 4, "Li4MnNiO4")]


@pytest.mark.parametrize(
    ("crystal", "reason"),
    [
        (PYRITE, "S-S bonds"),
        (GRAPHITE, "no anions"),
        (NIAL, "no anions"),
        (ROCK_SALT, "no transition metal"),
        (SPINEL.with_guests([MG] * 4, np.array([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0]])), "lowest common"),
    ],
)
def test_hosts_without_a_limit_say_why(crystal, reason):
    found = charge_limits(crystal, LI)
    assert not found.limits and reason in found.reason
    assert found.as_dict()["limits"] is None and reason in found.as_dict()["reason"]


def test_an_ion_of_unknown_charge_has_no_limit():
    assert "charge of the ion" in charge_limits(SPINEL, 26).reason
    assert charge_limits(SPINEL, 26, charge=2).limits[0].guests == 2
