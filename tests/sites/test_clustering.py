"""Sites from positions: known sites are found, whatever the cell, the frame and the noise."""

import time
from dataclasses import replace

import numpy as np
import pytest
from example_hosts import MNO2
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inpaint_hpc import Crystal, InputError, read_hosts
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.clustering import _Clustering, _Surroundings, assign_sites, networks_from_positions
from inpaint_hpc.sites.symmetry_levels import symmetry_levels

TETRAHEDRAL, OCTAHEDRAL = np.array([0.125, 0.125, 0.125]), np.array([0.0, 0.0, 0.0])  # 8a, 16c of lambda-MnO2


def host_of(name):
    return read_hosts(MNO2 / f"{name}.cif")[0]


@pytest.fixture(scope="module")
def spinel():
    return host_of("lambda_mp-25275")


def cloud(host, sites, counts, noise=0.1, seed=0):
    """Positions around random images of sites, with Gaussian noise in A."""
    rng = np.random.default_rng(seed)
    rotations, translations = symmetry_operations(host)
    rows = np.repeat(np.arange(len(sites)), counts)
    operations = rng.integers(len(rotations), size=len(rows))
    images = np.einsum("nij,nj->ni", rotations[operations], np.array(sites)[rows]) + translations[operations]
    return images + rng.normal(scale=noise, size=images.shape) @ np.linalg.inv(host.lattice)


def random_host(seed, n=9, edge=7.0):
    """A crystal without symmetry."""
    rng = np.random.default_rng(seed)
    lattice = edge * (np.eye(3) + rng.uniform(-0.2, 0.2, size=(3, 3)))
    return Crystal(rng.choice([8, 25], size=n), rng.uniform(size=(n, 3)), lattice, "random")


def summary(network):
    # Letters depend on which of two equivalent origins spglib picks in a cell: 8a or 8b.
    multiplicities = [o.wyckoff.rstrip("abcdefghi") for o in network.orbits]
    shells = [{element: count for element, (count, _) in o.coordination.items()} for o in network.orbits]
    return list(zip(multiplicities, [o.occupancy for o in network.orbits], shells, strict=True))


def test_spinel_sites_get_their_names(spinel):
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [30, 20])
    networks = networks_from_positions(spinel, 3, positions)
    network = networks[0]
    assert [(o.wyckoff, o.multiplicity) for o in network.orbits] == [("8a", 2), ("16c", 4)]
    assert [o.occupancy for o in network.orbits] == [0.6, 0.4]
    assert [o.spread for o in network.orbits] == pytest.approx([0.1 * np.sqrt(3)] * 2, rel=0.2)
    assert network.orbits[0].coordination["O"] == (4, pytest.approx(1.94, abs=0.02))
    assert network.orbits[1].coordination["O"] == (6, pytest.approx(2.13, abs=0.02))
    cell = PeriodicCell(spinel.lattice)
    assert cell.distances(network.orbits[0].frac_coords, TETRAHEDRAL[None]).min() < 1e-4
    assert cell.distances(network.orbits[1].frac_coords, OCTAHEDRAL[None]).min() < 1e-4
    assert network.samples == 50 and len(network.rotations) == 48
    # Without symmetry the same sites, each where its positions are.
    assert [len(n.rotations) for n in networks] == [48, 1]
    assert sorted(o.multiplicity for o in networks[1].orbits) == [1] * 6
    found = assign_sites(networks[1], network.frac_coords, 0.3)[0]
    assert sorted(found) == list(range(6))


def test_the_permutations_of_the_network_are_permutations(spinel):
    network = networks_from_positions(spinel, 3, cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [30, 20]))[0]
    for permutation in network.permutations:
        assert sorted(permutation) == list(range(6))
        assert np.array_equal(network.orbit_of[permutation], network.orbit_of)


def test_a_site_seen_once_comes_last(spinel):
    general = np.array([0.478, 0.894, 0.235])
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL, general], [5, 44, 1], noise=0.05)
    network = networks_from_positions(spinel, 3, positions)[0]
    assert [o.wyckoff for o in network.orbits] == ["16c", "8a", "96g"]
    assert network.orbits[-1].occupancy == pytest.approx(0.02)


def test_two_wells_near_a_mirror_are_one_site_only_if_they_are_near():
    host = host_of("delta_mp-25223")
    for apart, orbits in ((0.15, 1), (0.6, 2)):
        height = apart / np.linalg.norm(host.lattice[2])
        sites = [[0.0, 0.0, 0.5 + height], [0.0, 0.0, 0.5 - height]]
        network = networks_from_positions(host, 3, cloud(host, sites, [10, 10], 0.03))[0]
        assert [o.multiplicity for o in network.orbits] == [orbits]


def test_positions_on_host_atoms_are_left_out(spinel):
    positions = np.concatenate([cloud(spinel, [TETRAHEDRAL], [6]), spinel.frac_coords[:3] + 0.01])
    for network in networks_from_positions(spinel, 3, positions):
        assert network.samples == 6
        assert sum(o.occupancy for o in network.orbits) == pytest.approx(1.0)


def test_no_positions_no_sites(spinel):
    for positions in (np.zeros((0, 3)), spinel.frac_coords):
        networks = networks_from_positions(spinel, 3, positions)
        assert [len(n.rotations) for n in networks] == [48, 1]
        assert all(len(network) == 0 and network.samples == 0 for network in networks)
        assert networks[0].distances.shape == (0, 0)


def test_what_is_refused(spinel):
    empty = Crystal(np.zeros(0, int), np.zeros((0, 3)), np.eye(3) * 5)
    with pytest.raises(InputError, match="host atoms"):
        networks_from_positions(empty, 3, [[0, 0, 0]])
    with pytest.raises(InputError, match="not a finite number"):
        networks_from_positions(spinel, 3, [[0, np.nan, 0]])
    with pytest.raises(InputError, match="merging distance"):
        networks_from_positions(spinel, 3, [[0, 0, 0]], merge=0.0)


def test_levels_are_different_groups_and_end_without_symmetry():
    levels = symmetry_levels(host_of("alpha_mp-19395"), [0.01, 0.05, 0.1, 0.3])
    assert [(len(level), level.symprec) for level in levels] == [(8, 0.05), (2, 0.01), (1, 0.0)]
    # 18 atoms that hold the primitive cell twice: the translations are a level of their own.
    levels = symmetry_levels(host_of("gamma_mp-644514"), [0.05])
    assert [(len(level), level.subgroup) for level in levels] == [(8, ""), (2, "translations"), (1, "")]


@pytest.mark.parametrize("size", [[2, 1, 1], [1, 2, 3]])
def test_a_supercell_has_the_same_network(spinel, size):
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [30, 20])
    factor = int(np.prod(size))
    shifts = np.random.default_rng(1).integers(0, size, size=positions.shape)
    large = Crystal.from_structure(spinel.to_structure().make_supercell(size))
    small = networks_from_positions(spinel, 3, positions)[0]
    network = networks_from_positions(large, 3, (positions + shifts) / size)[0]
    assert summary(network) == summary(small)
    assert [o.multiplicity for o in network.orbits] == [factor * o.multiplicity for o in small.orbits]
    inside = (small.frac_coords[:, None] + np.indices(size).reshape(3, -1).T).reshape(-1, 3) / size
    assert (assign_sites(network, inside, 0.01)[0] >= 0).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_rotating_and_shifting_the_host_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    host = host_of("gamma_mp-644514")
    # Well apart: where peaks just merge, a shift of the origin within symprec can decide.
    sites = [[0.675, 0.494, 0.352], [0.188, 0.972, 0.378], [0.0, 0.25, 0.0]]
    free = cloud(host, sites, [20, 10, 10], noise=0.08, seed=seed)
    rotation, shift = Rotation.random(rng=rng).as_matrix(), rng.uniform(size=3)
    moved = replace(host, lattice=host.lattice @ rotation.T, frac_coords=host.frac_coords + shift)
    before, after = networks_from_positions(host, 3, free), networks_from_positions(moved, 3, free + shift)
    assert [len(n.rotations) for n in before] == [len(n.rotations) for n in after]
    for one, other in zip(before, after, strict=True):
        assert [o.occupancy for o in one.orbits] == pytest.approx([o.occupancy for o in other.orbits])
        assert len(one) == len(other)
        if len(one):
            # spglib finds the origin of a group within its tolerance only.
            assert assign_sites(other, one.frac_coords + shift)[1].max() < 0.05


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_orbits_are_closed_and_apart(seed):
    """Whatever the positions: images of sites are sites, orbits keep their distance, occupancies add up."""
    rng = np.random.default_rng(seed)
    host = host_of(["lambda_mp-25275", "R_mp-19326", "alpha_mp-19395", "delta_mp-25424"][seed % 4])
    for network in networks_from_positions(host, 3, rng.uniform(size=(60, 3))):
        # A stray position may belong to no site.
        assert 0.9 * (network.samples > 0) < sum(o.occupancy for o in network.orbits) < 1 + 1e-9
        if not len(network):
            continue
        images = np.einsum("oij,sj->osi", network.rotations, network.frac_coords) + network.translations[:, None]
        assert assign_sites(network, images.reshape(-1, 3))[1].max() < 0.02
        different = network.orbit_of[:, None] != network.orbit_of
        assert network.distances[different].min(initial=9.0) > 0.5


def test_a_host_without_symmetry_has_one_network():
    host = random_host(3)
    free = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.1]])
    surroundings = _Surroundings(host, 3)
    rng = np.random.default_rng(0)
    free = np.array([p for p in rng.uniform(size=(200, 3)) if surroundings.contact(p[None])[0] > 1.3])[:1]
    positions = free[rng.integers(len(free), size=20)] + rng.normal(scale=0.01, size=(20, 3))
    networks = networks_from_positions(host, 3, positions)
    assert len(networks) == 1 and networks[0].symprec == 0.0
    (orbit,) = networks[0].orbits
    assert orbit.multiplicity == 1 and orbit.occupancy == 1.0
    assert PeriodicCell(host.lattice).distances(orbit.frac_coords, free)[0, 0] < 0.1


def test_a_distorted_host_is_symmetric_at_a_loose_tolerance_only(spinel):
    rng = np.random.default_rng(2)
    distorted = replace(spinel, frac_coords=spinel.frac_coords + rng.normal(scale=0.003, size=(len(spinel), 3)))
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [30, 20])
    networks = networks_from_positions(distorted, 3, positions)
    assert len(networks[0].rotations) == 48 and networks[0].symprec > 0.05
    assert [(o.wyckoff[:-1], o.multiplicity) for o in networks[0].orbits] == [("8", 2), ("16", 4)]
    assert len(networks[-1].rotations) == 1 and networks[-1].symprec == 0.0
    assert all(len(network) == 6 for network in networks)


def test_the_kernel_holds_the_distances_between_orbits(spinel):
    """The sparse kernel against all images of all pairs, one at a time."""
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [4, 5], noise=0.3)
    level = symmetry_levels(spinel, [0.05])[0]
    clustering = _Clustering(_Surroundings(spinel, 3), level, positions, 0.7)
    kernel = clustering._kernel().toarray()
    cell = PeriodicCell(spinel.lattice)
    for i in range(9):
        for j in range(9):
            nearest = min(
                cell.distances((rotation @ positions[i] + translation)[None], positions[j][None])[0, 0]
                for rotation, translation in zip(level.rotations, level.translations, strict=True)
            )
            expected = np.exp(-(nearest**2) / (2 * 0.35**2)) if nearest <= 0.7 else 0.0
            assert kernel[i, j] == pytest.approx(expected, abs=1e-9)


def test_many_operations_cost_no_more_than_their_number(spinel):
    """192 atoms and 768 operations: 16 times those of the cell, and so at most is the time."""
    positions = cloud(spinel, [TETRAHEDRAL, OCTAHEDRAL], [60, 40])
    size = [2, 2, 4]
    large = Crystal.from_structure(spinel.to_structure().make_supercell(size))

    def seconds(host, where):
        start = time.process_time()
        networks = networks_from_positions(host, 3, where)
        return time.process_time() - start, networks

    shifts = np.random.default_rng(1).integers(0, size, size=positions.shape)
    small, _ = min((seconds(spinel, positions) for _ in range(3)), key=lambda pair: pair[0])
    big, networks = seconds(large, (positions + shifts) / size)
    assert [(o.wyckoff[:-1], o.multiplicity) for o in networks[0].orbits] == [("8", 32), ("16", 64)]
    assert big < 2 * 16 * small
