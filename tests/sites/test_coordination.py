"""Coordination shells of textbook sites, of ions off the centre of theirs, and without a host atom near."""

from pathlib import Path

import numpy as np
import pytest
from textbook_sites import TEXTBOOK

from inpaint_hpc import read_hosts
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.coordination import LOOK, coordination, shells
from inpaint_hpc.sites.periodic_points import PeriodicPoints

HOSTS = {host.name: host for host in read_hosts(Path(__file__).parents[2] / "inpaint_hpc" / "examples" / "mno2")}


def points_of(host):
    return PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)


def around(host, sites, ion):
    return coordination(host, points_of(host), np.atleast_2d(sites), ion)


@pytest.mark.parametrize("known", TEXTBOOK, ids=lambda known: known.name)
def test_textbook_sites(known):
    from ase.data import atomic_numbers

    host, site = known.host_and_site()
    (shell,) = shells(host, points_of(host), site, atomic_numbers[known.ion])
    assert {element: count for element, (count, _) in shell.by_element().items()} == known.neighbours
    if known.valence is None:
        assert shell.valence is None
    else:
        assert shell.valence == pytest.approx(known.valence, rel=0.35)  # what an empirical rule can do


def test_known_shells():
    spinel = HOSTS["lambda_mp-25275"]
    tetrahedral, octahedral = around(spinel, [[0.125] * 3, [0.0] * 3], 3)
    assert tetrahedral == {"O": (4, pytest.approx(1.936, abs=0.01))}
    assert octahedral == {"O": (6, pytest.approx(2.129, abs=0.01))}
    assert around(HOSTS["alpha_mp-19395"], [0.5, 0.0, 0.0], 19) == [{"O": (8, pytest.approx(2.86, abs=0.02))}]
    assert coordination(spinel, points_of(spinel), np.zeros((0, 3)), 3) == []


def test_metals_behind_the_anions_are_no_neighbours():
    """The octahedral site of this layered host has manganese 0.2 A behind the oxygen."""
    assert around(HOSTS["delta_mp-25223"], [0.0, 0.0, 0.5], 3) == [{"O": (6, pytest.approx(2.13, abs=0.02))}]


@pytest.mark.parametrize("name", ["R_mp-19326", "gamma_mp-644514"])
def test_an_ion_off_the_centre_of_its_site_has_more_than_one_neighbour(name):
    host = HOSTS[name]
    points = points_of(host)
    frac = np.random.default_rng(0).uniform(size=(400, 3))
    _, nearest, _ = points.nearest(frac)
    sites = frac[(nearest > 1.55) & (nearest < 2.2)]
    oxygen = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords[host.numbers == 8], LOOK)
    rows, _, distances = oxygen.distances(sites)
    for site, shell in enumerate(shells(host, points, sites, 3)):
        assert set(shell.numbers) == {8}
        near = distances[rows == site]
        assert len(shell.numbers) >= min(3, (near <= 1.4 * near.min()).sum())


def test_no_host_atom_near():
    host = HOSTS["delta_mp-25223"]
    tall = type(host)(host.numbers, host.frac_coords * [1, 1, 0.1], host.lattice * [[1], [1], [10]], "tall")
    assert around(tall, [0.0, 0.0, 0.6], 3) == [{}]
