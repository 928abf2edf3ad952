"""Pooling with score functions of known distributions: what is found, when it stops, and that it can be repeated."""

import numpy as np
import pytest
from analytic_networks import SiteNetwork as SitesAtAtoms

from inpaint_hpc import Crystal, InputError
from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample
from inpaint_hpc.sites.clustering import assign_sites
from inpaint_hpc.sites.pooling import Pool, PoolingSettings, pool_many, pool_positions

LI = 3
# Far enough from the atom to be possible.
OFFSET = np.array([2.0, -1.2, 1.0])
SAMPLING = SamplingSettings(steps=12)


def host(edge=7.0, atoms=((0.1, 0.2, 0.3), (0.62, 0.55, 0.13), (0.9, 0.8, 0.75)), numbers=(25, 8, 16)):
    return Crystal(np.array(numbers), np.array(atoms), np.diag([edge, 1.1 * edge, 1.3 * edge]), f"host {edge}")


def sites_of(crystal):
    return crystal.frac_coords + OFFSET @ np.linalg.inv(crystal.lattice)


def settings(**options):
    return PoolingSettings(sampling=SAMPLING, **options)


def test_a_pool_finds_all_sites_and_stops():
    network = SitesAtAtoms({25: 1.0, 8: 1.0, 16: 1.0}, offset=OFFSET)
    pool = pool_positions(network, host(), LI, 2, settings())
    assert pool.saturated and 2 <= pool.rounds <= 4
    assert pool.new_sites[0] == 3 and pool.new_sites[-1] == 0
    assert {n: len(s) for n, s in pool.samples.items()} == {1: 8 * pool.rounds, 2: 4 * pool.rounds}
    assert pool.nfe == 12 * pool.n_samples
    assert pool.frac_coords.shape == (16 * pool.rounds, 3)
    for found in pool.networks():
        assert len(found) == 3 and found.saturated
        assert (assign_sites(found, sites_of(host()), 0.2)[0] >= 0).all()


def test_a_rare_site_keeps_the_rounds_going():
    """With few samples a round, a site of small weight comes late; a round without anything new ends it."""
    network = SitesAtAtoms({25: 20.0, 8: 1.0, 16: 20.0}, offset=OFFSET)
    stops = {pool_positions(network, host(edge), LI, 1, settings(single_samples=4)).rounds for edge in (7.0, 7.2, 7.4)}
    pool = pool_positions(network, host(), LI, 1, settings(single_samples=4, max_rounds=12, min_rounds=12))
    assert pool.rounds == 12 and sum(pool.new_sites) == len(pool.networks()[0])
    assert min(stops) == 2


def test_at_most_max_rounds():
    """A wide cloud has something new in every round."""
    network = SitesAtAtoms({25: 1.0, 8: 1.0, 16: 1.0}, width=2.5, offset=OFFSET)
    pool = pool_positions(network, host(12.0), LI, 1, settings(single_samples=4, max_rounds=3))
    assert pool.rounds == 3 and not pool.saturated
    assert not pool.networks()[0].saturated


def test_a_pool_does_not_depend_on_its_company():
    """Bit by bit, also where the other hosts stop in other rounds."""
    network = SitesAtAtoms({25: 6.0, 8: 1.0, 16: 1.0}, offset=OFFSET)
    crystals, counts = [host(7.0), host(7.3), host(7.6)], [1, (2, 3), 2]
    wanted = settings(single_samples=3, joint_samples=2)
    together = pool_many(network, [Pool(crystal, LI) for crystal in crystals], counts, wanted)
    for crystal, count, pool in zip(crystals, counts, together, strict=True):
        alone = pool_positions(network, crystal, LI, count, wanted)
        assert alone.new_sites == pool.new_sites and alone.samples.keys() == pool.samples.keys()
        for n in alone.samples:
            assert np.array_equal(alone.samples[n], pool.samples[n])


def test_samples_are_those_of_their_tasks():
    """Rounds draw the samples 0, 1, 2 ... of the task, which anyone can draw again."""
    network = SitesAtAtoms({25: 1.0, 8: 1.0, 16: 1.0}, offset=OFFSET)
    pool = pool_positions(network, host(), LI, 2, settings())
    for count, coords in pool.samples.items():
        (again,) = sample(network, [Task(host(), [LI] * count)], SAMPLING, samples=len(coords))
        assert np.array_equal(again.frac_coords, coords)
    other = pool_positions(network, host(), LI, 2, PoolingSettings(sampling=SamplingSettings(steps=12, seed=1)))
    assert not np.array_equal(other.samples[1][0], pool.samples[1][0])


def test_several_numbers_of_guests_share_the_joint_samples():
    network = SitesAtAtoms({25: 1.0, 8: 1.0, 16: 1.0}, offset=OFFSET)
    pool = pool_positions(network, host(9.0), LI, (1, 2, 3, 4), settings(joint_samples=4, max_rounds=2))
    assert {n: len(s) for n, s in pool.samples.items()} == {1: 16, 2: 4, 3: 4, 4: 4}


def test_what_is_refused():
    network = SitesAtAtoms({25: 1.0, 8: 1.0, 16: 1.0}, offset=OFFSET)
    with pytest.raises(InputError, match="rounds from 3 to 2"):
        PoolingSettings(min_rounds=3, max_rounds=2)
    with pytest.raises(InputError, match="single-guest"):
        PoolingSettings(single_samples=0)
    with pytest.raises(InputError, match="host atoms"):
        pool_positions(network, Crystal(np.zeros(0, int), np.zeros((0, 3)), np.eye(3) * 6), LI)
    with pytest.raises(InputError, match="more than the cell"):
        pool_positions(network, host(4.0), LI, 60)
