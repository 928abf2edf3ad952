"""Packing of samples into batches."""

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals
from inpaint_hpc.crystals.neighbors import crystal_neighbors
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.batching import Work, edges_within, is_out_of_memory, pack, require_budget
from inpaint_hpc.sampling.strategies import Conditional, Replacement
from inpaint_hpc.sampling.tasks import Task


def work(*sizes: tuple[int, float, float]) -> list[Work]:
    return [Work(row, f"task {row}", tuple(range(n)), host, each) for row, (n, host, each) in enumerate(sizes)]


def test_every_sample_is_packed_once_and_no_batch_exceeds_the_budget():
    rng = np.random.default_rng(0)
    items = work(*[(int(rng.integers(1, 60)), rng.uniform(1, 80), rng.uniform(1, 30)) for _ in range(50)])
    batches = pack(items, 100.0)
    packed = sorted((part.task, index) for batch in batches for part in batch.parts for index in part.indices)
    assert packed == [(item.task, index) for item in items for index in item.indices]
    assert all(batch.edges <= 100.0 for batch in batches)
    assert len(batches) < 1.5 * sum(item.sample_edges * len(item.indices) for item in items) / 100.0 + 10


def test_a_task_that_needs_several_batches_has_them_for_itself_and_in_a_row():
    batches = pack(work((3, 5.0, 10.0), (25, 5.0, 10.0), (3, 5.0, 10.0)), 100.0)
    alone = [batch for batch in batches if 1 in batch.tasks]
    assert [batch.tasks for batch in alone] == [(1,)] * 3
    assert sorted(len(batch) for batch in alone) == [8, 8, 9]
    first = batches.index(alone[0])
    assert batches[first : first + 3] == alone
    assert [batch.tasks for batch in batches if 1 not in batch.tasks] == [(0, 2)]


def test_parts_of_a_task_are_put_together_again():
    parts = pack(work((6, 5.0, 10.0), (2, 5.0, 10.0)), 40.0)
    (batch,) = pack([part for batch in parts for part in batch.parts], 1000.0)
    assert sorted(batch.tasks) == [0, 1]
    assert {part.task: sorted(part.indices) for part in batch.parts} == {0: [0, 1, 2, 3, 4, 5], 1: [0, 1]}


def test_one_sample_may_exceed_the_budget_alone():
    assert [len(batch) for batch in pack(work((3, 500.0, 400.0), (1, 1.0, 1.0)), 100.0)] == [1, 1, 1, 1]


def test_hosts_count_as_well_as_guests():
    # Four hosts of 40 edges with few guests: two at a time.
    assert [batch.tasks for batch in pack(work(*[(1, 40.0, 1.0)] * 4), 100.0)] == [(0, 1), (2, 3)]


def test_a_budget_that_one_sample_exceeds_is_refused_with_what_is_needed():
    with pytest.raises(InputError) as caught:
        require_budget(work((4, 90.0, 10.0), (4, 93_999.5, 10.0)), 10_000)
    message = str(caught.value)
    assert message.startswith(
        "task 1: one sample needs an edge budget of 94000, the budget is 10000: raise edge_budget to 94000"
    )
    assert "\n" not in message


def test_estimated_edges_are_those_of_a_random_crystal():
    rng = np.random.default_rng(3)
    lattice = np.array([[9.0, 0.0, 0.0], [2.0, 10.0, 0.0], [-1.0, 1.5, 11.0]])
    host = Crystal(np.full(80, 8), rng.random((80, 3)), lattice)
    counted = len(crystal_neighbors(Crystals.from_list([host], dtype=torch.float64), 5.0))
    assert edges_within(80, 80, host.volume, 5.0) == pytest.approx(counted, rel=0.05)
    task = Task(host, [3] * 4)
    host_edges, sample_edges = Conditional.edges(task, 5.0, 6.0)
    assert host_edges == edges_within(80, 80, host.volume, 5.0)
    assert sample_edges == edges_within(4, 80, host.volume, 5.0) + edges_within(4, 4, host.volume, 6.0)
    assert Replacement.edges(task, 5.0, 6.0) == (0.0, edges_within(84, 84, host.volume, 6.0))


def test_out_of_memory_is_recognised_on_gpu_and_cpu():
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory")) and is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shape mismatch")) and not is_out_of_memory(ValueError())
