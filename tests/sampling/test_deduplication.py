"""Clusters of samples: against brute force, and on real MnO2 hosts."""

from itertools import permutations

import numpy as np
import pytest
from example_hosts import MNO2, SPINEL
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.sampling import deduplication
from inpaint_hpc.sampling.deduplication import deduplicate, equal_samples

RUTILE = read_hosts([MNO2 / "beta_mp-510408.cif"])[0]
LAYERED = read_hosts([MNO2 / "delta_mp-25223.cif"])[0]
HOSTS = [SPINEL, RUTILE, LAYERED]
SYMPREC = 0.1


def equal_by_brute_force(host, guests, first, second, tolerance, operations):
    """Tries every operation and every permutation that keeps species."""
    lattice = Lattice(host.lattice)
    for rotation, translation in zip(*operations, strict=True):
        distances = lattice.get_all_distances(first @ rotation.T + translation, second)
        for order in permutations(range(len(guests))):
            same = all(guests[i] == guests[j] for i, j in enumerate(order))
            if same and all(distances[i, j] <= tolerance for i, j in enumerate(order)):
                return True
    return False


def moved(host, guests, sample, rng, noise=0.0):
    """The same placement: a random operation, permutation within species, lattice translations and noise in A."""
    rotations, translations = symmetry_operations(host, SYMPREC)
    which = rng.integers(len(rotations))
    out = sample @ rotations[which].T + translations[which] + rng.integers(-3, 4, sample.shape)
    for z in np.unique(guests):
        rows = np.flatnonzero(guests == z)
        out[rows] = out[rng.permutation(rows)]
    if not noise:
        return out
    step = rng.normal(size=sample.shape)
    return out + noise * step / np.linalg.norm(step, axis=1, keepdims=True) @ np.linalg.inv(host.lattice)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), which=st.integers(0, 2), n=st.integers(1, 3))
def test_two_samples_as_brute_force(seed, which, n):
    rng = np.random.default_rng(seed)
    host = HOSTS[which]
    guests = np.sort(rng.choice([3, 12], n))
    first = rng.random((n, 3))
    # Near the border between equal and not: moved by about the tolerance.
    second = moved(host, guests, first, rng, noise=rng.uniform(0.0, 1.0))
    operations = symmetry_operations(host, SYMPREC)
    expected = [
        equal_by_brute_force(host, guests, first, second, tolerance, operations) for tolerance in (0.25, 0.5, 1.0)
    ]
    found = [
        len(deduplicate(host, guests, np.stack([first, second]), tolerance, SYMPREC)) == 1
        for tolerance in (0.25, 0.5, 1.0)
    ]
    assert found == expected


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), which=st.integers(0, 2), n=st.integers(1, 6))
def test_symmetry_permutation_and_translation_do_not_matter(seed, which, n):
    rng = np.random.default_rng(seed)
    host = HOSTS[which]
    guests = np.sort(rng.choice([3, 12, 20], n))
    sample = rng.random((n, 3))
    samples = np.stack([sample] + [moved(host, guests, sample, rng) for _ in range(5)])
    # Far tighter than the default: nothing but the host's own asymmetry is left between the copies.
    (cluster,) = deduplicate(host, guests, samples, tolerance=0.15, symprec=SYMPREC)
    assert cluster.members.tolist() == list(range(6))
    assert cluster.agreement == 1.0
    assert cluster.spread < 0.1


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_members_of_a_cluster_are_equal_to_its_centre(host):
    rng = np.random.default_rng(7)
    guests = np.array([3, 3, 12])
    base = rng.random((4, 3, 3))
    truth = rng.integers(4, size=24)
    samples = np.stack([moved(host, guests, base[t], rng, noise=0.1) for t in truth])
    clusters = deduplicate(host, guests, samples, 0.5, SYMPREC)
    assert sorted(np.concatenate([c.members for c in clusters]).tolist()) == list(range(24))
    for cluster in clusters:
        assert cluster.representative in cluster.members
        assert cluster.agreement == pytest.approx(len(cluster) / 24)
        assert len(set(truth[cluster.members])) == 1
    # Each placement was copied with 0.1 A of noise, so one cluster each.
    assert len(clusters) == len(set(truth))
    assert [len(c) for c in clusters] == sorted((len(c) for c in clusters), reverse=True)


def test_spinel_tetrahedral_sites_are_one_candidate_and_octahedral_another():
    tetrahedral = [[0.125] * 3, [0.875] * 3, [-0.125 + 4] * 3]
    octahedral = [[0.0] * 3, [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]
    samples = np.array(tetrahedral + octahedral)[:, None]
    clusters = deduplicate(SPINEL, [3], samples, 0.5, SYMPREC)
    assert [c.members.tolist() for c in clusters] == [[0, 1, 2], [3, 4, 5]]


def test_rutile_tunnel_sites():
    # 4c (1/2 0 0) octahedral, 4d (1/2 0 1/4) tetrahedral; c is 2.9 A, so they are 0.7 A apart.
    samples = np.array([[0.5, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.25], [0, 0.5, 0.75]])[:, None]
    axis = int(np.argmin(np.linalg.norm(RUTILE.lattice, axis=1)))
    samples = np.roll(samples, axis - 2, axis=2)
    assert [c.members.tolist() for c in deduplicate(RUTILE, [3], samples, 0.5, SYMPREC)] == [[0, 1], [2, 3]]
    assert len(deduplicate(RUTILE, [3], samples, 0.8, SYMPREC)) == 1


def test_different_orderings_of_the_same_sites_stay_apart():
    # Li and Mg on the two 8a sites of the primitive spinel cell are equal either way round; Li and Mg on 8a and 16c
    # are not.
    a, c = [0.125] * 3, [0.5, 0.0, 0.0]
    samples = np.array([[a, [0.875] * 3], [[0.875] * 3, a], [a, c], [c, a]])
    assert [k.members.tolist() for k in deduplicate(SPINEL, [3, 12], samples)] == [[0, 1], [2], [3]]
    assert [k.members.tolist() for k in deduplicate(SPINEL, [3, 3], samples)] == [[0, 1], [2, 3]]


def test_order_of_samples_does_not_matter():
    rng = np.random.default_rng(11)
    samples = rng.random((20, 2, 3))
    order = rng.permutation(20)
    first = deduplicate(LAYERED, [3, 3], samples, 1.2)
    second = deduplicate(LAYERED, [3, 3], samples[order], 1.2)
    assert len(first) < 20
    assert sorted(len(c) for c in first) == sorted(len(c) for c in second)
    again = deduplicate(LAYERED, [3, 3], samples, 1.2)
    assert [c.members.tolist() for c in again] == [c.members.tolist() for c in first]


def test_representative_is_the_typical_sample_and_spread_its_scatter():
    along = np.array([0.0, 0.1, 0.2, 0.3, 0.4])[:, None] * np.array([1.0, 0.0, 0.0])
    host = Crystal([8, 25], [[0, 0, 0], [0.31, 0.17, 0.43]], np.array([[9.0, 0, 0], [1, 8, 0], [0.5, 1, 7]]))
    samples = (np.array([4.0, 4.0, 4.0]) + along) @ np.linalg.inv(host.lattice)
    (cluster,) = deduplicate(host, [3], samples[:, None], 0.5)
    assert cluster.representative == 2
    assert cluster.spread == pytest.approx(np.std([0.0, 0.1, 0.2, 0.3, 0.4]), abs=1e-6)


def test_supercell_translations_are_symmetries():
    double = np.diag([2, 1, 1])
    host = Crystal(
        np.tile(SPINEL.numbers, 2),
        np.concatenate([SPINEL.frac_coords / [2, 1, 1], (SPINEL.frac_coords + np.array([1, 0, 0])) / [2, 1, 1]]),
        double @ SPINEL.lattice,
    )
    samples = np.array([[0.125 / 2, 0.125, 0.125], [1.125 / 2, 0.125, 0.125]])[:, None]
    assert len(deduplicate(host, [3], samples)) == 1


def test_nothing_to_cluster():
    assert deduplicate(SPINEL, [3], np.zeros((0, 1, 3))) == []
    with pytest.raises(ValueError, match="host atoms"):
        deduplicate(Crystal([], np.zeros((0, 3)), np.eye(3)), [3], np.zeros((1, 1, 3)))
    with pytest.raises(ValueError, match="finite"):
        deduplicate(SPINEL, [3], np.full((1, 1, 3), np.nan))


def test_every_guest_needs_a_partner_of_its_own():
    # Two guests of the first sample are near one guest of the second, and one is near two: no one-to-one assignment,
    # although every guest has somebody near.
    host = Crystal([8, 25], [[0, 0, 0], [0.31, 0.17, 0.43]], np.array([[19.0, 0, 0], [1, 18, 0], [0.5, 1, 17]]))
    first = np.array([[5.0, 5.0, 5.10], [5.0, 5.0, 5.45], [5.0, 5.0, 6.40]])
    second = np.array([[5.0, 5.0, 5.40], [5.0, 5.0, 5.96], [5.0, 5.0, 6.80]])
    samples = np.stack([first, second]) @ np.linalg.inv(host.lattice)
    assert len(deduplicate(host, [3, 3, 3], samples, 0.5)) == 2
    assert len(deduplicate(host, [3, 3, 3], samples, 0.52)) == 1


def test_spread_is_measured_in_one_frame():
    # Copies shifted along one line, then sent anywhere by symmetry: the scatter is that along the line.
    rng = np.random.default_rng(13)
    along = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    base = np.array([[0.31, 0.12, 0.47]])
    line = np.array([0.6, -0.48, 0.64]) @ np.linalg.inv(SPINEL.lattice)
    samples = np.stack([moved(SPINEL, np.array([3]), base + t * line, rng) for t in along])
    (cluster,) = deduplicate(SPINEL, [3], samples, 0.25)
    assert cluster.representative == 2
    assert cluster.spread == pytest.approx(np.std(along), abs=0.01)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_many_samples_are_compared_as_pairs_are(host, monkeypatch):
    rng = np.random.default_rng(4)
    guests = np.array([3, 3, 12])
    places = rng.random((5, 3, 3))
    samples = np.stack([moved(host, guests, places[k % 5], rng, rng.uniform(0.0, 0.7)) for k in range(18)])
    operations = symmetry_operations(host, SYMPREC)
    expected = np.eye(18, dtype=bool)
    for i in range(18):
        for j in range(i + 1, 18):
            same = equal_by_brute_force(host, guests, samples[i], samples[j], 0.5, operations)
            expected[i, j] = expected[j, i] = same
    assert 18 < expected.sum() < 18 * 18
    assert np.array_equal(equal_samples(host, guests, samples), expected)
    # A few at a time.
    monkeypatch.setattr(deduplication, "_PAIRS", 40)
    monkeypatch.setattr(deduplication, "_CHUNK", 500)
    assert np.array_equal(equal_samples(host, guests, samples), expected)
