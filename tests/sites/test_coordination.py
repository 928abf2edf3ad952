"""Coordination shells against pymatgen's implementation of the same rule."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.local_env import BrunnerNNReciprocal

from inpaint_hpc import read_hosts
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.coordination import LOOK, coordination
from inpaint_hpc.sites.periodic_points import PeriodicPoints

HOSTS = read_hosts(Path(__file__).parents[2] / "inpaint_hpc" / "examples" / "mno2")


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_shells_are_those_of_brunner(host):
    sites = np.random.default_rng(0).uniform(size=(15, 3))
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    for position, shell in zip(sites, coordination(host, points, sites), strict=True):
        structure = host.with_guests([2], position).to_structure()
        rule = BrunnerNNReciprocal(tol=1e-4, cutoff=LOOK)
        # Images of the guest itself are no host atoms, and the rule must not count them.
        expected = [n for n in rule.get_nn_info(structure, len(host)) if n["site_index"] != len(host)]
        if min(structure.get_distance(len(host), i) for i in range(len(host))) < 0.5:
            continue
        assert {element: count for element, (count, _) in shell.items()} == {
            s: sum(n["site"].specie.symbol == s for n in expected) for s in {n["site"].specie.symbol for n in expected}
        }
        for element, (_, mean) in shell.items():
            distances = [n["site"].nn_distance for n in expected if n["site"].specie.symbol == element]
            assert mean == pytest.approx(np.mean(distances))


def test_known_shells():
    (spinel,) = (host for host in HOSTS if host.name.startswith("lambda"))
    points = PeriodicPoints(PeriodicCell(spinel.lattice), spinel.frac_coords, LOOK)
    tetrahedral, octahedral = coordination(spinel, points, np.array([[0.125] * 3, [0.0] * 3]))
    assert tetrahedral == {"O": (4, pytest.approx(1.936, abs=0.01))}
    assert octahedral == {"O": (6, pytest.approx(2.129, abs=0.01))}
    assert coordination(spinel, points, np.zeros((0, 3))) == []
