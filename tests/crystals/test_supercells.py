"""Supercells that symmetry does not make equal."""

from pathlib import Path

import numpy as np
import pytest

import inpaint_hpc
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.supercells import (
    hermite_normal_form,
    hermite_normal_forms,
    inequivalent_supercells,
    supercell,
)
from inpaint_hpc.errors import InputError

SPINEL = read_hosts([Path(inpaint_hpc.__file__).parent / "examples" / "mno2" / "lambda_mp-25275.cif"])[0]
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
