"""Distances, tables and permutations of a network."""

import math
from dataclasses import replace

import numpy as np
import pytest
from example_hosts import MNO2

from inpaint_hpc import read_hosts
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.clustering import network_from_positions
from inpaint_hpc.sites.site_network import COLUMNS, SiteNetwork


@pytest.fixture(scope="module")
def network():
    """8a and 16c of lambda-MnO2 in its primitive cell."""
    (host,) = read_hosts([MNO2 / "lambda_mp-25275.cif"])
    return network_from_positions(host, 3, [[0.125] * 3] * 3 + [[0.0] * 3])


def test_orbit_distances_are_the_shortest_between_different_sites(network):
    cell = PeriodicCell(network.host.lattice)
    assert network.orbit_distances.shape == (2, 2)
    for i, one in enumerate(network.orbits):
        for j, other in enumerate(network.orbits):
            distances = cell.distances(one.frac_coords, other.frac_coords)
            shortest = min([d for d in distances.ravel() if d > 0.01] + ([cell.shortest] if i == j else []))
            assert network.orbit_distances[i, j] == pytest.approx(shortest, abs=1e-6)
    # 8a-16c is sqrt(3)/8 of the cubic edge, 16c-16c sqrt(2)/4 of it, 8a-8a sqrt(3)/4.
    edge = (4 * network.host.volume) ** (1 / 3)
    expected = np.array([[3**0.5 / 4, 3**0.5 / 8], [3**0.5 / 8, 2**0.5 / 4]]) * edge
    assert network.orbit_distances == pytest.approx(expected, abs=0.01)


def test_a_single_site_is_an_image_apart_from_itself():
    (host,) = read_hosts([MNO2 / "delta_mp-25424.cif"])
    network = network_from_positions(host, 3, [[0.5] * 3])
    assert network.orbit_distances == pytest.approx(np.array([[PeriodicCell(host.lattice).shortest]]))


def test_the_table(network):
    table = network.table()
    assert list(table.columns) == list(COLUMNS)
    assert list(table["wyckoff"]) == ["8a", "16c"] and list(table["occupancy"]) == [0.75, 0.25]
    assert list(table["coordination"]) == ["O4", "O6"] and list(table["nearest_site"]) == [1, 0]
    assert table["energy_eV"].isna().all() and table["above_best_meV"].isna().all()
    orbits = (replace(network.orbits[0], energy=-10.0), replace(network.orbits[1], energy=-9.75))
    assert list(replace(network, orbits=orbits).table()["above_best_meV"]) == [0.0, 250.0]
    one_failed = (network.orbits[0], orbits[1])
    above = replace(network, orbits=one_failed).table()["above_best_meV"]
    assert math.isnan(above[0]) and above[1] == 0.0


def test_an_empty_network(network):
    empty = SiteNetwork(network.host, 3, (), 0.0, network.rotations[:1], network.translations[:1], 0, False)
    assert len(empty) == 0 and empty.table().empty and empty.orbit_distances.shape == (0, 0)
    assert empty.permutations.shape == (1, 0)
