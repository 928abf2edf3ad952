"""Symmetry: operations map the crystal onto itself, and known sites get their textbook names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_hosts import MNO2
from pymatgen.core import Lattice, Structure

from inpaint_hpc import Crystal, read_hosts
from inpaint_hpc.crystals import symmetry
from inpaint_hpc.crystals.symmetry import (
    onto_symmetry_elements,
    orbit_under,
    site_multiplicity,
    site_orbit,
    spacegroup_symbol,
    symmetry_operations,
    wyckoff_label,
    wyckoff_labels,
)

SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"
SYMBOLS = {
    "beta_mp-510408": "P4_2/mnm",
    "R_mp-19326": "Pnma",
    "alpha_mp-19395": "I4/m",
    "lambda_mp-25275": "Fd-3m",
    "delta_mp-25223": "P-3m1",
    "delta_mp-25424": "R-3m",
    "gamma_mp-644514": "C2/m",
}


def host_of(name):
    return read_hosts(MNO2 / f"{name}.cif")[0]


def crystal_of(structure):
    return Crystal.from_structure(structure)


def supercell(crystal, size):
    return crystal_of(crystal.to_structure().make_supercell(size))


@pytest.mark.parametrize("name", SYMBOLS)
def test_space_groups_of_the_polymorphs(name):
    assert spacegroup_symbol(host_of(name)) == SYMBOLS[name]


@pytest.mark.parametrize("name", SYMBOLS)
def test_operations_map_the_crystal_onto_itself(name):
    crystal = supercell(host_of(name), [1, 1, 2])
    rotations, translations = symmetry_operations(crystal)
    assert np.array_equal(rotations[0], np.eye(3))
    assert np.allclose(translations[0], 0)
    lattice = Lattice(crystal.lattice)
    for rotation, translation in zip(rotations, translations, strict=True):
        images = crystal.frac_coords @ rotation.T + translation
        distances = lattice.get_all_distances(images, crystal.frac_coords)
        nearest = distances.argmin(axis=1)
        assert sorted(nearest) == list(range(len(crystal)))
        assert np.array_equal(crystal.numbers[nearest], crystal.numbers)
        assert distances.min(axis=1).max() < 0.1


def test_pure_translations_of_a_supercell_are_included():
    cell = host_of("beta_mp-510408")
    assert len(symmetry_operations(cell)[0]) == 16
    rotations, _ = symmetry_operations(supercell(cell, [2, 2, 2]))
    assert len(rotations) == 16 * 8
    assert sum(np.array_equal(rotation, np.eye(3)) for rotation in rotations) == 8


def test_symmetry_precision_decides():
    alpha = host_of("alpha_mp-19395")
    assert spacegroup_symbol(alpha, symprec=0.01) == "P-1"
    assert len(symmetry_operations(alpha, symprec=0.01)[0]) == 2


def test_nothing_found_is_the_identity():
    crystal = host_of("beta_mp-510408")
    for bad in (
        replace(crystal, frac_coords=crystal.frac_coords * np.nan),
        replace(crystal, lattice=crystal.lattice * [0, 1, 1]),
        replace(crystal, frac_coords=crystal.frac_coords * 0),
        Crystal([], np.zeros((0, 3)), np.eye(3)),
    ):
        rotations, translations = symmetry_operations(bad)
        assert rotations.tolist() == [np.eye(3).tolist()]
        assert translations.tolist() == [[0, 0, 0]]
        assert spacegroup_symbol(bad) == "P1"
        assert site_multiplicity(crystal, [0.1, 0.2, 0.3]) > 1


@pytest.mark.parametrize("offset", [0.0, 1e-6, 0.01, 0.03])
def test_lithium_in_spinel_sits_on_8a(offset):
    """The tetrahedral site of the spinel framework, however far (up to 0.3 A) the sample is off it."""
    host = host_of("lambda_mp-25275")
    for site in ([0.125, 0.125, 0.125], [0.875, 0.875, 0.875], [1.125, -0.875, 0.125]):
        position = np.array(site) + [offset, -offset / 2, 0]
        assert wyckoff_label(host, position) == (8, "a")
        assert site_multiplicity(host, position) == 2
    assert str(wyckoff_label(host, [0.125, 0.125, 0.125])) == "8a"
    # The empty octahedra of the spinel framework.
    assert wyckoff_label(host, [offset, 0, 0]) == (16, "c")
    assert site_multiplicity(host, [offset, 0, 0]) == 4


def test_interlayer_octahedron_of_layered_mno2():
    host = host_of("delta_mp-25424")
    manganese = wyckoff_label(host, host.frac_coords[0])
    lithium = wyckoff_label(host, host.frac_coords[0] + [0.5, 0.5, 0.5])
    assert {manganese, lithium} == {(3, "a"), (3, "b")}
    assert site_multiplicity(host, [0.5, 0.5, 0.5]) == 1


def test_perovskite_sites():
    host = crystal_of(Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), ["Ti", "O"], [[0] * 3, [0.5, 0, 0]]))
    assert wyckoff_label(host, [0.5, 0.5, 0.5]) == (1, "b")
    assert wyckoff_label(host, [0.5, 0.5, 0.05]) == (3, "c")
    assert site_multiplicity(host, [0.5, 0.5, 0.25]) == 6
    assert site_multiplicity(host, [0.2, 0.33, 0.44], tol=0.1) == 48
    doubled = supercell(host, [2, 1, 1])
    assert wyckoff_label(doubled, [0.25, 0.5, 0.5]) == (1, "b")
    assert site_multiplicity(doubled, [0.25, 0.5, 0.5]) == 2


def test_orbits_are_closed_and_divide_the_group():
    """For random sites in real crystals: the orbit is mapped onto itself and has order / stabilizer members."""
    rng = np.random.default_rng(1)
    for crystal in [host_of(name) for name in SYMBOLS] + read_hosts(f"{SMOKE}::::15"):
        rotations, translations = symmetry_operations(crystal)
        lattice = Lattice(crystal.lattice)
        for tol in (0.1, 0.5, 1.0):
            orbit = site_orbit(crystal, rng.random(3), tol=tol)
            assert len(rotations) % len(orbit) == 0
            assert ((orbit >= 0) & (orbit < 1)).all()
            images = (orbit @ rotations.transpose(0, 2, 1) + translations[:, None]).reshape(-1, 3)
            assert lattice.get_all_distances(images, orbit).min(axis=1).max() < 0.01


def test_left_handed_cell_has_the_same_symmetry():
    host = host_of("lambda_mp-25275")
    mirrored = replace(host, lattice=host.lattice * [1, 1, -1])
    assert spacegroup_symbol(mirrored) == "Fd-3m"
    assert wyckoff_label(mirrored, [0.125, 0.125, 0.125]) in ((8, "a"), (8, "b"))
    assert site_multiplicity(mirrored, [0.125, 0.125, 0.125]) == 2


@pytest.mark.parametrize("name", SYMBOLS)
@pytest.mark.parametrize("skew", [0, 3])
def test_orbits_have_one_of_each_image_by_pymatgen_s_distances(name, skew):
    host = host_of(name)
    lattice = np.array([[1, 0, 0], [skew, 1, 0], [0, -skew, 1]]) @ host.lattice
    host = replace(host, lattice=lattice, frac_coords=host.frac_coords @ host.lattice @ np.linalg.inv(lattice))
    operations = symmetry_operations(host, 0.1)
    for position in np.random.default_rng(0).random((10, 3)):
        position = onto_symmetry_elements(lattice, operations, position, 0.5)
        images, expected = operations[0] @ position + operations[1], []
        while len(images):
            expected.append(images[0] - np.floor(images[0]))
            images = images[Lattice(lattice).get_all_distances(expected[-1], images)[0] >= 0.01]
        assert np.array_equal(orbit_under(lattice, operations, position), np.array(expected) % 1.0)


@pytest.mark.parametrize("shift", [0.0, 1e-6, 0.02])
def test_standard_cells_need_not_be_asked_for(shift, monkeypatch):
    """Labels are those that spglib's answer for the standard cell gives, which only distorted hosts need."""
    rng = np.random.default_rng(3)
    hosts = [host_of(name) for name in SYMBOLS] + read_hosts(f"{SMOKE}::::5")
    hosts = [replace(one, frac_coords=one.frac_coords + shift * rng.random((len(one), 3))) for one in hosts]
    orbits = [np.array([site_orbit(host, place, 0.1)[0] for place in rng.random((3, 3))]) for host in hosts]
    labels = [wyckoff_labels(host, places, 0.1) for host, places in zip(hosts, orbits, strict=True)]
    monkeypatch.setattr(symmetry, "_EXACT", -1.0)
    assert [wyckoff_labels(host, places, 0.1) for host, places in zip(hosts, orbits, strict=True)] == labels
