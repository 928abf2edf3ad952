"""Annealing and the search within a budget find known ground states of pair models."""

import numpy as np
import pytest
from made_up_spaces import chain, grid, scattered

from inpaint_hpc.orderings.annealing import anneal, random_orderings
from inpaint_hpc.orderings.enumeration import inequivalent_orderings
from inpaint_hpc.orderings.ordering_search import search_orderings
from inpaint_hpc.orderings.ordering_space import ordering_space
from inpaint_hpc.orderings.surrogate_energy import Surrogate


class PairModel:
    """Pairs repel each other by the inverse third power of their distance, and sites have energies; counts calls."""

    def __init__(self, space, site_energies=None):
        self.space, self.calls = space, 0
        distances = space.distances + np.where(np.eye(len(space), dtype=bool), np.inf, 0.0)
        self.pair = 30.0 / distances**3
        self.site = np.zeros(len(space)) if site_energies is None else np.asarray(site_energies)

    def __call__(self, orderings):
        orderings = np.asarray(orderings)
        self.calls += len(orderings)
        pairs = self.pair[orderings[:, :, None], orderings[:, None, :]].sum(axis=(1, 2)) / 2
        return self.site[orderings].sum(axis=1) + pairs


def test_annealing_finds_the_ground_state_of_a_pair_model():
    space = ordering_space([chain(24)])
    model = PairModel(space)
    starts = random_orderings(space, {3: 8}, 16, seed=1)
    assert starts.shape == (16, 8) and all(len(set(s)) == 8 for s in starts.tolist())
    orderings, energies = anneal(space, starts, model, steps=1000, hot=0.5, cold=0.005, seed=2)
    assert len(orderings) == 16 * 1001 == model.calls
    best = orderings[energies.argmin()]
    assert set(np.diff(best)) == {3}  # every third site
    again = anneal(space, starts, PairModel(space), steps=1000, hot=0.5, cold=0.005, seed=2)
    assert np.array_equal(orderings, again[0]) and np.array_equal(energies, again[1])


def test_moves_keep_to_exclusion_and_elements():
    space = ordering_space([chain(12, 3, spacing=1.2), chain(12, 11, spacing=1.2)])
    starts = random_orderings(space, {3: 2, 11: 2}, 8, seed=0)
    orderings, _ = anneal(space, starts, lambda o: np.zeros(len(o)), steps=40, seed=0)
    assert all(space.allows(o) for o in orderings)
    assert (np.sort(space.numbers[orderings], axis=1) == [3, 3, 11, 11]).all()
    assert len({tuple(o) for o in orderings.tolist()}) > 50


def test_random_orderings_of_a_full_host_are_none():
    space = ordering_space([chain(8, spacing=1.2)])
    assert len(random_orderings(space, {3: 5}, 4)) == 0


def test_the_surrogate_learns_a_pair_model_and_ranks_by_it():
    space = ordering_space([grid(2)])
    rng = np.random.default_rng(0)
    space.orbits[:] = np.arange(8) % 3  # three kinds of sites
    model = PairModel(space, np.array([0.0, 0.7, -0.4])[space.orbits])
    every = np.array([o for o in inequivalent_orderings(ordering_space([scattered(8, edge=40.0)]), {3: 4})])
    energies = model(every)
    surrogate = Surrogate(space)
    before = np.corrcoef(surrogate.energies(every), energies)[0, 1]
    learnt = rng.permutation(len(every))[:24]
    surrogate.fit(every[learnt], energies[learnt])
    after = np.corrcoef(surrogate.energies(every), energies)[0, 1]
    assert after > max(before, 0.97)
    site, pair = surrogate.matrix()
    taken = every[3]
    expected = site[taken].sum() + 0.5 * pair[np.ix_(taken, taken)].sum()
    assert surrogate.energies(every[3:4])[0] == pytest.approx(expected)


def test_surrogate_sums_pairs_over_images():
    small, large = ordering_space([chain(4)]), ordering_space([chain(8)])
    one = Surrogate(small).features(np.array([[0, 2]]))[0, -2:]
    doubled = Surrogate(large).features(np.array([[0, 2, 4, 6]]))[0, -2:]
    assert doubled == pytest.approx(2 * one, rel=1e-6)


def test_a_small_space_is_searched_completely():
    space = ordering_space([chain(10)])
    model = PairModel(space)
    found = search_orderings(space, {3: 5}, model, budget=100)
    every = inequivalent_orderings(space, {3: 5})
    assert found.complete and len(found) == len(every) == found.evaluations == model.calls == 16
    assert found.energies[0] == pytest.approx(PairModel(space)(every).min())
    assert (np.diff(found.energies) >= -1e-6).all()


@pytest.mark.parametrize(("n_sites", "n", "limit"), [(16, 8, 4000), (24, 8, 300), (30, 10, 300)])
def test_the_ground_state_is_found_within_the_budget(n_sites, n, limit):
    """Also where the orderings are too many to enumerate: 1,430,715 necklaces of 30 beads with 10 black ones."""
    space = ordering_space([chain(n_sites)])
    asked, pairs = [], PairModel(space)

    def model(orderings):
        asked.append(len(orderings))
        return pairs(orderings)

    reported = []
    found = search_orderings(
        space, {3: n}, model, budget=40, limit=limit, progress=lambda a, b: reported.append((a, b))
    )
    assert sum(asked) == found.evaluations <= 40 and not found.complete
    assert set(np.diff(found.orderings[0])) == {n_sites // n}
    assert reported[-1] == (found.evaluations, 40)


def test_disorder_without_symmetry_is_searched_by_annealing_and_twice_the_same():
    space = ordering_space([scattered(40, seed=3, edge=16.0)])
    rng = np.random.default_rng(5)
    sites = rng.normal(0.0, 0.5, len(space))
    found = search_orderings(space, {3: 12}, PairModel(space, sites), budget=96, seed=7, limit=500)
    again = search_orderings(space, {3: 12}, PairModel(space, sites), budget=96, seed=7, limit=500)
    assert np.array_equal(found.orderings, again.orderings) and np.array_equal(found.energies, again.energies)
    # A long annealing with true energies as the oracle, against as many random orderings as the budget allows.
    model = PairModel(space, sites)
    _, energies = anneal(space, random_orderings(space, {3: 12}, 20, 0), model, steps=600, hot=2.0, cold=0.02, seed=1)
    chance = PairModel(space, sites)(random_orderings(space, {3: 12}, 96, 1))
    assert found.energies[0] < energies.min() + 0.15 * (chance.min() - energies.min())


def test_impossible_orderings_do_not_win_and_no_sites_give_nothing():
    space = ordering_space([chain(10)])
    model = PairModel(space)

    def energies(orderings):
        values = model(orderings)
        return np.where(np.diff(orderings, axis=1)[:, 0] % 8 == 1, np.nan, values)  # neighbours

    found = search_orderings(space, {3: 2}, energies, budget=100)
    assert np.isnan(found.energies[-1]) and np.isfinite(found.energies[0])
    assert len(search_orderings(space, {3: 11}, energies, budget=10)) == 0
    with pytest.raises(ValueError, match="budget"):
        search_orderings(space, {3: 2}, energies, budget=0)
