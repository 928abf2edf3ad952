"""Bond lengths and sums against pymatgen's parameters and tabulated lengths."""

import math

import numpy as np
import pytest
from ase.data import atomic_numbers
from pymatgen.analysis.bond_valence import BV_PARAMS

from inpaint_hpc.sites.bond_valence import typical_length, unit_length, valence_sum

# N. E. Brese and M. O'Keeffe, Acta Cryst. B47, 192 (1991).
TABULATED = {
    ("Li", "O"): 1.466, ("Na", "O"): 1.80, ("K", "O"): 2.13, ("Mg", "O"): 1.693, ("Ca", "O"): 1.967,
    ("Zn", "O"): 1.704, ("Al", "O"): 1.651, ("Li", "F"): 1.36, ("Li", "S"): 1.94, ("Na", "S"): 2.28,
    ("Li", "Cl"): 1.91,
}  # fmt: skip


def number(symbol):
    return atomic_numbers[symbol]


def test_parameters_are_those_of_pymatgen():
    for one, its in BV_PARAMS.items():
        for other, theirs in BV_PARAMS.items():
            r, s, c, d = its["r"], theirs["r"], its["c"], theirs["c"]
            expected = r + s - r * s * (math.sqrt(c) - math.sqrt(d)) ** 2 / (c * r + d * s)
            assert unit_length(one.Z, other.Z) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pair", TABULATED, ids="-".join)
def test_lengths_are_near_those_tabulated_for_pairs(pair):
    assert unit_length(*map(number, pair)) == pytest.approx(TABULATED[pair], abs=0.06)


def test_sums():
    six = np.full(6, number("O"))
    length = unit_length(3, 8) - 0.37 * math.log(1 / 6)
    assert valence_sum(3, six, np.full(6, length)) == pytest.approx(1.0)
    assert valence_sum(9, np.full(4, number("Ca")), np.full(4, 2.366)) == pytest.approx(1.0, abs=0.1)
    for ion, neighbour in (("Li", "C"), ("Li", "Si"), ("Mg", "B"), ("Li", "Al"), ("H", "Pd"), ("Li", "He")):
        assert valence_sum(number(ion), np.full(6, number(neighbour)), np.full(6, 2.0)) is None
    assert valence_sum(3, np.array([8, 26]), np.array([2.0, 2.2])) is None
    assert valence_sum(3, np.zeros(0, dtype=int), np.zeros(0)) is None
    assert unit_length(3, 2) is None and typical_length(3, 2) == pytest.approx(1.28 + 0.28)
