"""Shards: equal in cost, within their limits, and made for the workers that will take them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.campaign.config import Resources
from inpaint_hpc.campaign.slurm_settings import SlurmSettings
from inpaint_hpc.planning.shards import GPU_SAMPLES, GPU_SECONDS, ShardLimits, cut_shards, shard_limits


@pytest.mark.parametrize("seed", range(5))
def test_cutting_shards(seed):
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.lognormal(10, 2, size=int(rng.integers(1, 3000))))[::-1]
    resources = Resources(shard_tasks=50, min_shards=16, shard_minutes=float(rng.choice([1e-4, 0.01, 100])))
    cuts = cut_shards(costs, np.full(len(costs), 16), shard_limits(resources))
    assert cuts[0] == 0 and cuts[-1] == len(costs) and (np.diff(cuts) > 0).all()
    assert np.diff(cuts).max() <= 50
    target = min(resources.shard_minutes * 60 / 25e-6, costs.sum() / 16)
    sums = np.add.reduceat(costs, cuts[:-1])
    several = np.diff(cuts) > 1
    assert (sums[several] <= 1.6 * target + costs[cuts[:-1]][several]).all()


def test_a_gpu_gets_large_shards_and_small_campaigns_enough_for_each_worker():
    one_guest = np.full(20_000, 45_000.0), np.full(20_000, 16)
    on_gpus = np.diff(cut_shards(*one_guest, shard_limits(Resources(), gpu_workers=4)))
    on_cpus = np.diff(cut_shards(*one_guest, shard_limits(Resources())))
    assert on_gpus.max() * 16 <= GPU_SAMPLES and on_gpus.min() > 2 * on_cpus.max()
    small = np.full(60, 45_000.0), np.full(60, 16)
    assert len(cut_shards(*small, shard_limits(Resources(), gpu_workers=1))) - 1 == 4
    assert len(cut_shards(*small, shard_limits(Resources(), gpu_workers=4))) - 1 == 16
    assert len(cut_shards(*small, shard_limits(Resources()))) - 1 == 16
    # A costly task, e.g. one that is relaxed: the seconds decide, not the samples.
    costly = np.full(2_000, 4e6), np.full(2_000, 16)
    each = np.diff(cut_shards(*costly, shard_limits(Resources(), gpu_workers=1)))
    assert (each * 4e6 * GPU_SECONDS <= 11.0).all() and each.max() > 50


@pytest.mark.parametrize(
    ("resources", "at_least"),
    [({}, 12), ({"units_at_once": 5}, 18), ({"analysis": 0}, 6), ({"units_at_once": 1}, 6), ({"analysis": 4}, 12)],
)
def test_workers_on_gpus_have_their_units_in_flight_and_one_is_left(resources, at_least):
    assert shard_limits(Resources(**resources), gpu_workers=3).at_least == at_least
    assert shard_limits(Resources(**resources)).at_least == 16


@pytest.mark.parametrize("gpu_workers", [0, 3])
def test_what_is_stated_counts_on_any_device(gpu_workers):
    limits = shard_limits(Resources(shard_minutes=2, shard_tasks=7, min_shards=5), gpu_workers)
    assert (limits.cost, limits.tasks, limits.at_least) == (2 * 60 / 25e-6, 7, 5)
    costs = np.full(100, 1e3)
    assert np.diff(cut_shards(costs, np.full(100, 16), limits)).max() <= 7


def test_a_task_of_more_samples_than_a_shard_should_have_is_a_shard():
    cuts = cut_shards(np.full(3, 1e5), np.full(3, 50_000), shard_limits(Resources(min_shards=1), 1))
    assert cuts.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("slurm", "resources", "workers"),
    [
        ({"gpus_per_node": 4, "nodes": 2, "allocations": 3}, {}, 24),
        ({"gpus_per_node": "a100:4"}, {}, 4),
        ({"gres": "gpu:a100:2", "nodes": 2}, {}, 4),
        ({"gpus_per_node": 4, "actors": 8}, {}, 8),
        ({"gpus_per_node": 4}, {"actors": 16}, 16),
        ({"gpus_per_node": 4}, {"device": "cpu"}, 0),
        ({"gpus_per_node": 4, "device": "cpu"}, {}, 0),
        ({"gres": "license:4"}, {}, 0),
        ({"nodes": 2}, {}, 0),
    ],
)
def test_workers_on_gpus_that_a_request_is_for(slurm, resources, workers):
    assert SlurmSettings(**slurm).gpu_workers(Resources(**resources)) == workers


@given(
    tasks=st.lists(st.tuples(st.floats(1e-3, 1e12), st.integers(1, 10**6)), min_size=1, max_size=300),
    cost=st.floats(1e-3, 1e12),
    most=st.integers(1, 50),
    samples=st.one_of(st.just(np.inf), st.integers(1, 10**6)),
    at_least=st.integers(1, 1000),
)
@settings(max_examples=200, deadline=None)
def test_any_tasks_are_cut_into_shards_that_hold_each_once(tasks, cost, most, samples, at_least):
    costs, drawn = np.array([one for one, _ in tasks]), np.array([n for _, n in tasks])
    limits = ShardLimits(cost, most, samples, at_least)
    cuts = cut_shards(costs, drawn, limits)
    assert cuts.dtype == np.int64 and cuts[0] == 0 and cuts[-1] == len(tasks)
    sizes = np.diff(cuts)
    assert sizes.min() > 0 and sizes.max() <= most
    # A shard that costs more than its share has a task that alone costs as much as what is above it.
    share = costs.sum() / max(1, round(costs.sum() / min(cost, costs.sum() / at_least)))
    largest = np.maximum.reduceat(costs, cuts[:-1])
    assert (np.add.reduceat(costs, cuts[:-1]) <= (share + largest) * (1 + 1e-9)).all()
