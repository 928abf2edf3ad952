"""Voids of hosts from geometry, against sites that are known."""

from dataclasses import replace

import numpy as np
from example_hosts import MNO2, SPINEL

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.supercells import supercell
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.voids import void_centres

OCTAHEDRAL_1T = [0.0, 0.0, 0.5]


def near(host, found, place):
    return PeriodicCell(host.lattice).distances(found, np.array([place])).min()


def test_a_spinel_has_its_8a_and_16c():
    found = void_centres(SPINEL, 3, 48)
    assert near(SPINEL, found, [0.125] * 3) < 0.05 or near(SPINEL, found, [0.875] * 3) < 0.05
    octahedra = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]
    assert min(near(SPINEL, found, place) for place in octahedra) < 0.05
    assert not invalid_samples(SPINEL, [3], found[:, None]).invalid.any()


def test_a_gap_between_layers_has_its_octahedron():
    (host,) = read_hosts([MNO2 / "delta_mp-25223.cif"])
    assert near(host, void_centres(host, 3, 48), OCTAHEDRAL_1T) < 0.1


def test_symmetry_counts_once_whatever_the_cell():
    """Voids of a supercell are those of the cell: it has the same symmetry, and eight times the vertices."""
    large = supercell(SPINEL, 2 * np.eye(3, dtype=int), "large")
    assert len(void_centres(large, 3, 48)) == len(void_centres(SPINEL, 3, 48))


def test_the_roomiest_come_first_and_no_more_than_asked():
    every = void_centres(SPINEL, 3, 48)
    assert len(every) > 2 and np.array_equal(void_centres(SPINEL, 3, 2), every[:2])
    room = PeriodicCell(SPINEL.lattice).distances(every, SPINEL.frac_coords).min(axis=1)
    assert room[0] > room[-1]


def test_a_full_host_has_none():
    assert void_centres(Crystal([55], [[0.0, 0.0, 0.0]], np.eye(3) * 3.0), 55, 48).shape == (0, 3)


def test_voids_on_a_face_of_the_cell_are_inside_it():
    """A vertex at -1e-17 is at 0, not at 1, which no result may have."""
    (host,) = read_hosts([MNO2 / "beta_mp-510408.cif"])
    for size in np.linspace(1.0, 1.04, 40):
        found = void_centres(replace(host, lattice=size * host.lattice), 3, 48)
        assert ((found >= 0.0) & (found < 1.0)).all()
