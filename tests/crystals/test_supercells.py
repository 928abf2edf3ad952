"""Supercells that symmetry does not make equal."""

import numpy as np
import pytest
from example_hosts import SPINEL
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.supercells import (
    hermite_normal_form,
    hermite_normal_forms,
    inequivalent_supercells,
    supercell,
)
from inpaint_hpc.errors import InputError

FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]) * 3.6
# Derivative structures by G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77, 224115 (2008), table IV.
KNOWN = {"fcc": (FCC, [1, 2, 3, 7, 5, 10, 7, 20]), "sc": (np.eye(3) * 3.0, [1, 3, 3, 9, 5, 13, 7, 24])}


@pytest.mark.parametrize("name", KNOWN)
def test_as_many_as_are_known(name):
    lattice, expected = KNOWN[name]
    crystal = Crystal(np.array([29]), np.zeros((1, 3)), lattice)
    assert [len(inequivalent_supercells(crystal, index)) for index in range(1, 9)] == expected


def test_forms_are_all_sublattices():
    assert [sum(1 for _ in hermite_normal_forms(n)) for n in (1, 2, 3, 4, 5, 6)] == [1, 7, 13, 35, 31, 91]
    rng = np.random.default_rng(0)
    for form in hermite_normal_forms(6):
        assert round(np.linalg.det(form)) == 6 and np.array_equal(hermite_normal_form(form), form)
        mixed = form[rng.permutation(3)] @ np.eye(3, dtype=np.int64)
        mixed[0] += 3 * mixed[1] - mixed[2]
        mixed[2] -= 2 * mixed[0]
        assert np.array_equal(hermite_normal_form(mixed), form)
    with pytest.raises(ValueError, match="span no lattice"):
        hermite_normal_form(np.array([[1, 0, 0], [2, 0, 0], [0, 0, 1]]))


def test_a_supercell_is_the_same_crystal():
    from pymatgen.analysis.structure_matcher import StructureMatcher

    for matrix in inequivalent_supercells(SPINEL, 2):
        larger = supercell(SPINEL, matrix, "twice")
        assert larger.name == "twice" and len(larger) == 2 * len(SPINEL)
        assert larger.volume == pytest.approx(2 * SPINEL.volume)
        assert np.linalg.det(larger.lattice) * np.linalg.det(SPINEL.lattice) > 0
        assert StructureMatcher().fit(SPINEL.to_structure(), larger.to_structure())
    with pytest.raises(InputError, match="span no volume"):
        supercell(SPINEL, np.zeros((3, 3)))
    with pytest.raises(InputError, match="at least one cell"):
        inequivalent_supercells(SPINEL, 0)


def test_compact_ones_come_first():
    found = inequivalent_supercells(SPINEL, 4)
    lengths = [float(((matrix @ SPINEL.lattice) ** 2).sum()) for matrix in found]
    assert lengths == sorted(lengths) and len(found) == 7


@given(matrix=arrays(np.int64, (3, 3), elements=st.integers(-3, 3)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_supercell_has_the_neighbours_of_its_crystal(matrix, seed):
    """As many atoms and as much volume for each cell; the distances from an atom are those of the atom it copies."""
    cells = round(abs(np.linalg.det(matrix)))
    assume(0 < cells <= 12)
    rng = np.random.default_rng(seed)
    host = Crystal(rng.integers(1, 90, 2), rng.uniform(-1.0, 2.0, (2, 3)), 3.0 * np.eye(3) + rng.random((3, 3)))
    larger = supercell(host, matrix)
    assert larger.numbers.tolist() == np.repeat(host.numbers, cells).tolist()
    assert larger.volume == pytest.approx(cells * host.volume)
    assert (larger.frac_coords >= 0.0).all() and (larger.frac_coords < 1.0).all()
    small, large = host.to_structure(), larger.to_structure()
    for atom in range(2):
        near = sorted(site.nn_distance for site in small.get_neighbors(small[atom], 4.5))
        for copy in range(atom * cells, (atom + 1) * cells):
            found = sorted(site.nn_distance for site in large.get_neighbors(large[copy], 4.5))
            assert found == pytest.approx(near, abs=1e-6)


@given(matrix=arrays(np.int64, (3, 3), elements=st.integers(-5, 5)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_lattice_has_one_normal_form_whatever_vectors_span_it(matrix, seed):
    index = round(abs(np.linalg.det(matrix)))
    assume(index > 0)
    form = hermite_normal_form(matrix)
    assert round(np.linalg.det(form)) == index and (np.triu(form, 1) == 0).all()
    assert all(0 <= form[row, column] < form[column, column] for row in range(3) for column in range(row))
    mixed, rng = matrix.copy(), np.random.default_rng(seed)
    for _ in range(5):
        one, other = rng.permutation(3)[:2]
        mixed[one] += int(rng.integers(-3, 4)) * mixed[other]
    assert np.array_equal(hermite_normal_form(mixed[rng.permutation(3)]), form)
