"""Oxidation states from magnetic moments: told where they separate and balance the charges, nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.analysis.metal_states import metal_states, states_of, words

MN = SPINEL.numbers == 25  # four of them, with eight oxygen
HALF = SPINEL.with_guests([3, 3], [[0.125] * 3, [0.875] * 3])  # LiMn2O4: two of Mn3+, two of Mn4+


def moments(crystal, values):
    found = np.full(len(crystal), 0.05)
    found[crystal.numbers == 25] = values
    return found


def test_states_are_told_where_moments_separate_and_charges_balance():
    assert MN.sum() == 4
    assert states_of(SPINEL, moments(SPINEL, [3.0, 3.1, 2.9, 3.2])) == {"Mn": {4: 4}}
    assert states_of(HALF, moments(HALF, [3.9, 3.1, 3.8, 3.0])) == {"Mn": {3: 2, 4: 2}}
    assert states_of(HALF, moments(HALF, [3.55, 3.1, 3.8, 3.0])) == {}  # between two
    assert states_of(HALF, moments(HALF, [3.9, 3.9, 3.8, 3.0])) == {}  # one electron too many
    assert states_of(HALF, moments(HALF, [np.nan, 3.1, 3.8, 3.0])) == {}
    nickel = replace(SPINEL, numbers=np.where(MN, 28, SPINEL.numbers))
    assert states_of(nickel, np.full(len(nickel), 1.6)) == {}
    metal = replace(SPINEL, numbers=np.full(len(SPINEL), 25))
    assert states_of(metal, np.full(len(metal), 3.0)) == {}


@pytest.mark.parametrize(("states", "text"), [({"Mn": {3: 1, 4: 3}, "V": {5: 1}}, "Mn3+, Mn4+ x3, V5+"), ({}, "")])
def test_words(states, text):
    assert words(states) == text


def test_the_spinel_by_chgnet():
    assert metal_states([], "0.3.0") == []
    assert metal_states([SPINEL], "0.3.0") == [{"Mn": {4: 4}}]
