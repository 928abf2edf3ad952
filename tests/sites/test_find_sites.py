"""What a chemist expects of known hosts, found by the packaged weights and CHGNet."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_hosts import MNO2

from inpaint_hpc import Crystal, InputError, load_network, read_hosts
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax
from inpaint_hpc.sites.clustering import assign_sites, network_from_positions
from inpaint_hpc.sites.find_sites import find_sites, find_sites_many, room_for
from inpaint_hpc.sites.pooling import PoolingSettings
from inpaint_hpc.sites.site_energies import with_energies, with_energies_many

ROOT = Path(__file__).parents[2]
QUICK = PoolingSettings(single_samples=6, joint_samples=3, sampling=SamplingSettings(steps=25))


def host_of(name):
    return read_hosts(MNO2 / f"{name}.cif")[0]


@pytest.fixture(scope="module")
def weights():
    return load_network()


def test_lithium_in_spinel_sits_on_8a_first_and_then_on_16c(weights):
    spinel = host_of("lambda_mp-25275")
    sites = find_sites(weights, spinel, "Li", settings=QUICK)
    first, second = sites.orbits[:2]
    assert (first.wyckoff, first.multiplicity, first.shell) == ("8a", 2, "O4")
    assert (second.wyckoff, second.multiplicity, second.shell) == ("16c", 4, "O6")
    # Positions exact: the guests of one orbit do not move in CHGNet either, for symmetry forbids it.
    assert max(first.shift, second.shift) < 0.02
    assert first.energy < second.energy - 0.1
    # 8a and 16c share a face: they exclude each other.
    assert sites.orbit_distances[0, 1] == pytest.approx(1.74, abs=0.02)


def test_layered_hosts_have_octahedral_and_tetrahedral_sites(weights):
    """3R (the stacking of LiCoO2) at its octahedron; 1T at octahedron and tetrahedra, octahedra lowest in energy."""
    stacked, flat = find_sites_many(
        weights, [host_of("delta_mp-25424"), host_of("delta_mp-25223")], "Li", 1, settings=QUICK
    )
    assert (stacked.orbits[0].multiplicity, stacked.orbits[0].shell) == (1, "O6")
    assert stacked.orbits[0].frac_coords[0] == pytest.approx([0.5] * 3, abs=0.01)
    kinds = {(o.multiplicity, o.coordination["O"][0]): o for o in flat.orbits}
    octahedral, tetrahedral = kinds[1, 6], kinds[2, 4]
    # Per site: there are two tetrahedral ones.
    assert octahedral.occupancy > tetrahedral.occupancy / 2 and octahedral.energy < tetrahedral.energy
    assert octahedral.frac_coords[0, 2] == pytest.approx(0.5, abs=0.01)


def test_lithium_in_olivine_sits_in_the_m1_channel(weights):
    """M1 of CoPO4 with the olivine framework: 4a, on the inversion centres, octahedral, in chains along b."""
    (host,) = read_hosts(ROOT / "tests" / "data" / "olivine_CoPO4_mp-504098.cif")
    sites = find_sites(weights, host, "Li", 4, energies=1, settings=QUICK)
    first = sites.orbits[0]
    assert (first.wyckoff, first.multiplicity, first.coordination["O"][0]) == ("4a", 4, 6)
    assert first.occupancy > 0.4 and first.settles_on == 0 and first.shift < 0.02
    assert (assign_sites(sites, [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]], 0.05)[0] >= 0).all()
    # Neighbours in the channel are half of b apart.
    assert sites.orbit_distances[0, 0] == pytest.approx(np.linalg.norm(host.lattice, axis=1)[1] / 2, abs=0.01)


def test_energies_are_those_of_a_relaxation_of_its_own():
    spinel = host_of("lambda_mp-25275")
    rough = network_from_positions(spinel, 3, [[0.13, 0.12, 0.14]], symprec=0.05)
    off = replace(rough, orbits=(replace(rough.orbits[0], frac_coords=rough.orbits[0].frac_coords + 0.03),))
    filled = with_energies(off)
    (alone,) = relax([spinel.with_guests(3, off.orbits[0].frac_coords[0])], 1, RelaxSettings("guests", max_steps=200))
    assert filled.orbits[0].energy == pytest.approx(alone.energy_per_atom * 13, abs=1e-4)
    moved = PeriodicCell(spinel.lattice).vectors(alone.crystal.frac_coords[-1] - off.orbits[0].frac_coords[0])
    assert filled.orbits[0].shift == pytest.approx(np.linalg.norm(moved), abs=1e-4) and filled.orbits[0].shift > 0.1
    # Back on 8a, which for this one-orbit network is the site next to it.
    assert filled.orbits[0].settles_on == 0
    assert filled.orbits[0].energy == pytest.approx(with_energies(rough).orbits[0].energy, abs=0.01)


def test_an_impossible_site_keeps_nan_and_leaves_others_alone():
    spinel = host_of("lambda_mp-25275")
    network = network_from_positions(spinel, 3, [[0.125] * 3] * 2 + [[0.0] * 3])
    on_atom = replace(network.orbits[1], frac_coords=spinel.frac_coords[:1] + 0.001)
    filled = with_energies(replace(network, orbits=(network.orbits[0], on_atom)))
    assert np.isfinite(filled.orbits[0].energy) and np.isnan(filled.orbits[1].energy)
    assert [o.settles_on for o in filled.orbits] == [0, -1]
    limited = with_energies(network, limit=1)
    assert [np.isfinite(o.energy) for o in limited.orbits] == [True, False]


def test_energies_of_many_networks_are_those_of_each():
    networks = [
        network_from_positions(host_of("lambda_mp-25275"), 3, [[0.125] * 3] * 2 + [[0.0] * 3]),
        network_from_positions(host_of("delta_mp-25424"), 3, np.zeros((0, 3))),
        network_from_positions(host_of("delta_mp-25424"), 11, [[0.5] * 3]),
    ]
    together = with_energies_many(networks)
    for network, filled in zip(networks, together, strict=True):
        alone = with_energies(network)
        assert [o.energy for o in filled.orbits] == pytest.approx([o.energy for o in alone.orbits], abs=1e-4)
        assert [o.wyckoff for o in filled.orbits] == [o.wyckoff for o in network.orbits]
    assert len({o.energy for network in together for o in network.orbits}) == 3


def test_room_is_what_a_task_accepts():
    spinel = host_of("lambda_mp-25275")
    most = room_for(spinel, 3)
    Task(spinel, {"Li": most})
    with pytest.raises(InputError, match="more than the cell"):
        Task(spinel, {"Li": most + 1})
    thin = Crystal(np.array([25]), np.zeros((1, 3)), np.diag([1.2, 8.0, 8.0]))
    assert room_for(thin, 3) == 0


def test_what_is_refused(weights):
    with pytest.raises(InputError, match="unknown element"):
        find_sites(weights, host_of("delta_mp-25424"), "Lu2")
    with pytest.raises(InputError, match="more than the cell"):
        find_sites(weights, host_of("delta_mp-25424"), "Li", 40)
    with pytest.raises(InputError, match="energies"):
        find_sites(weights, host_of("delta_mp-25424"), "Li", 1, energies=-1)
