"""Orderings against brute force: all subsets of sites, grouped by what symmetry makes equal."""

import itertools

import numpy as np
import pytest
from made_up_spaces import chain, grid, scattered

from inpaint_hpc.orderings.enumeration import (
    OrderingKeys,
    _grow,
    _orbits,
    _unions,
    distinct,
    inequivalent_orderings,
    symmetric_orderings,
)
from inpaint_hpc.orderings.ordering_space import ordering_space


def classes_by_brute_force(space, counts):
    """Sets of orderings (frozensets of sites) that symmetry makes equal, exclusion applied."""
    choices = [itertools.combinations(space.sites_of(z).tolist(), n) for z, n in sorted(counts.items())]
    allowed = {
        frozenset(itertools.chain(*parts))
        for parts in itertools.product(*choices)
        if space.allows(np.array(sorted(itertools.chain(*parts))))
    }
    classes = set()
    for ordering in allowed:
        images = frozenset(frozenset(p[list(ordering)].tolist()) for p in space.permutations)
        classes.add(images)
    return classes


def assert_one_of_each(space, counts):
    expected = classes_by_brute_force(space, counts)
    found = inequivalent_orderings(space, counts)
    assert len(found) == len(expected)
    hit = {frozenset(ordering.tolist()) for ordering in found}
    assert all(len(hit & images) == 1 for images in expected)
    assert (np.diff(found, axis=1) > 0).all() if len(found) else True


def test_orbits_are_the_connected_components_of_the_generators():
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    for n_sites in (1, 2, 7, 40):
        # Long cycles need many steps; identities and short cycles leave many orbits.
        cycle = np.roll(np.arange(n_sites), 1)
        swaps = [np.arange(n_sites) for _ in range(8)]
        for swap in swaps:
            i, j = rng.integers(n_sites, size=2)
            swap[[i, j]] = swap[[j, i]]
        known = [cycle, *swaps, rng.permutation(n_sites)]
        generators = np.array([[known[i], known[j]] for i in range(len(known)) for j in range(len(known))])
        for labels, pair in zip(_orbits(generators), generators, strict=True):
            sites = np.tile(np.arange(n_sites), 2)
            graph = coo_matrix((np.ones(len(sites)), (sites, pair.reshape(-1))), shape=(n_sites, n_sites))
            expected = connected_components(graph, directed=False)[1]
            first = np.unique(expected, return_index=True)[1]
            assert np.array_equal(labels, np.argsort(np.argsort(first))[expected])


@pytest.mark.parametrize("n", range(1, 9))
def test_every_inequivalent_ordering_of_a_chain_once(n):
    space = ordering_space([chain(8)])
    assert len(space.permutations) == 16
    assert_one_of_each(space, {3: n})


def test_numbers_of_necklaces_are_those_of_burnside():
    # Bracelets of 12 beads with 6 black ones: 50; necklaces, without reflections: 80 (OEIS A052307, A047996).
    assert len(inequivalent_orderings(ordering_space([chain(12)]), {3: 6})) == 50
    assert len(inequivalent_orderings(ordering_space([chain(12, reflections=False)]), {3: 6})) == 80


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_every_inequivalent_ordering_of_a_cube_once(n):
    assert_one_of_each(ordering_space([grid(2)]), {3: n})


def test_sites_that_exclude_each_other_are_never_taken_together():
    network = chain(8, spacing=1.2)  # neighbours exclude each other, next neighbours do not
    space = ordering_space([network])
    assert space.excluded.sum() == 16
    for n in (1, 2, 3, 4, 5):
        assert_one_of_each(space, {3: n})
    assert len(inequivalent_orderings(space, {3: 4})) == 1 and len(inequivalent_orderings(space, {3: 5})) == 0
    assert ordering_space([network], {3: 0.5}).excluded.sum() == 0


def test_two_elements_on_the_same_places():
    space = ordering_space([chain(5, 3), chain(5, 11)])
    assert len(space) == 10 and (space.numbers == np.repeat([3, 11], 5)).all()
    # One place cannot hold both.
    assert space.excluded[np.arange(5), np.arange(5) + 5].all()
    for counts in ({3: 1, 11: 1}, {3: 2, 11: 1}, {3: 2, 11: 2}, {3: 3, 11: 2}):
        assert_one_of_each(space, counts)
    assert len(inequivalent_orderings(space, {3: 3, 11: 3})) == 0
    coords = space.guest_frac_coords(np.array([7, 1]))
    assert coords[:, 2] == pytest.approx([0.2, 0.4])  # lithium first, as in Task.guests


def test_a_host_without_symmetry_has_all_subsets():
    space = ordering_space([scattered(7, edge=40.0)])
    assert len(inequivalent_orderings(space, {3: 3})) == 35
    assert len(inequivalent_orderings(space, {3: 6})) == 7


def test_beyond_64_sites_keys_tell_orderings_apart_as_well():
    space = ordering_space([chain(70)])
    assert len(inequivalent_orderings(space, {3: 2})) == 35
    keys = OrderingKeys(space.permutations)
    assert len(np.unique(keys(np.array([[0, 1], [34, 35], [69, 0], [0, 2]])))) == 2


def test_too_many_orderings_are_refused_and_too_few_sites_have_none():
    space = ordering_space([chain(30)])
    assert inequivalent_orderings(space, {3: 15}, limit=500) is None
    assert inequivalent_orderings(space, {3: 31}).shape == (0, 31)


def test_symmetric_orderings_are_orderings_and_the_most_symmetric_are_among_them():
    space = ordering_space([grid(2)])
    keys = OrderingKeys(space.permutations)
    every = inequivalent_orderings(space, {3: 4})
    found = symmetric_orderings(space, {3: 4})
    assert set(keys(found)) <= set(keys(every)) and len(set(keys(found))) == len(found)
    symmetry = keys.symmetry(every)
    best = every[symmetry == symmetry.max()]
    assert set(keys(best)) <= set(keys(found))
    # The order of the stabilizer by brute force.
    ordering = found[0]
    kept = sum(set(p[ordering].tolist()) == set(ordering.tolist()) for p in space.permutations)
    assert keys.symmetry(found[:1])[0] == kept


def test_unions_of_orbits_add_up_to_the_number_of_guests():
    # 28 sites of a large chain: too many to enumerate, the half-filled ones with a period are found.
    space = ordering_space([chain(28)])
    found = symmetric_orderings(space, {3: 14})
    patterns = {tuple(np.diff(o)) for o in found}
    assert (2,) * 13 in patterns and found.shape[1] == 14
    again = symmetric_orderings(space, {3: 14})
    assert np.array_equal(found, again)


def test_distinct_keeps_the_first_of_each_kind():
    space = ordering_space([chain(6)])
    kept = distinct(np.array([[0, 1], [2, 3], [0, 2], [1, 3], [0, 3]]), OrderingKeys(space.permutations))
    assert [k.tolist() for k in kept] == [[0, 1], [0, 2], [0, 3]]


def test_orderings_grow_as_by_plain_sets_of_rows():
    for space, n in ((ordering_space([chain(10, spacing=1.2)]), 3), (ordering_space([chain(80)]), 1)):
        orderings = np.zeros((1, 0), dtype=np.int64)
        for _ in range(n):
            rows = {
                tuple(sorted([*ordering, site]))
                for ordering in orderings.tolist()
                for site in range(len(space))
                if site not in ordering and space.allows(np.array([*ordering, site]))
            }
            orderings = _grow(space, orderings, np.arange(len(space)))
            assert orderings.tolist() == sorted(map(list, rows))
    # So many guests that their numbers would not fit into 64 bits.
    few = _grow(space, np.arange(0, 24, 2)[None], np.array([1, 3, 79]))
    assert few.tolist() == sorted(sorted([*range(0, 24, 2), site]) for site in (1, 3, 79))


def test_keys_and_symmetry_operation_by_operation(monkeypatch):
    monkeypatch.setattr("inpaint_hpc.orderings.enumeration._CHUNK", 500)
    rng = np.random.default_rng(0)
    for space in (ordering_space([grid(2)]), ordering_space([chain(70)])):
        keys = OrderingKeys(space.permutations)
        orderings = np.array([rng.permutation(len(space))[:4] for _ in range(40)])
        images = [[keys.plain(p[o][None])[0] for p in space.permutations] for o in orderings]
        assert keys(orderings).tolist() == [min(row) for row in images]
        kept = [[set(p[o]) == set(o) for p in space.permutations] for o in orderings.tolist()]
        assert keys.symmetry(orderings).tolist() == np.sum(kept, axis=1).tolist()


def test_unions_of_orbits_as_by_trying_all():
    space = ordering_space([chain(12, 3, spacing=1.2), chain(12, 11, spacing=1.6)])
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7] + [8, 9, 10, 10, 11, 12, 13, 14, 14, 15, 16, 17])
    orbits = [np.flatnonzero(labels == label) for label in range(18)]
    for counts in ({3: 3}, {11: 3}, {3: 2, 11: 2}):
        every = set()
        for n in range(1, 5):
            for some in itertools.combinations(orbits, n):
                sites = np.concatenate(some)
                numbers, found = np.unique(space.numbers[sites], return_counts=True)
                if dict(zip(numbers.tolist(), found.tolist(), strict=True)) == counts and space.allows(sites):
                    every.add(tuple(sorted(sites.tolist())))
        unions = [tuple(union.tolist()) for union in _unions(space, labels, counts)]
        assert len(every) > 3 and len(unions) == len(every) and set(unions) == every
