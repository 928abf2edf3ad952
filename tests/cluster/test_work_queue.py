"""What waits, in which order, and what becomes of units that kill their worker."""

import pytest

from inpaint_hpc.campaign.work_units import WorkUnit
from inpaint_hpc.cluster.work_queue import DEATHS_OF_A_TASK, WorkQueue


def drain(queue):
    return [queue.pop() for _ in range(len(queue))]


def test_expensive_units_go_first():
    costs = {WorkUnit(0, 0, 4): 2.0, WorkUnit(1, 0, 4): 5.0, WorkUnit(2, 0, 4): 1.0}
    queue = WorkQueue(costs.__getitem__)
    queue.fill(costs)
    assert queue.total_cost == 8.0
    assert [unit.shard for unit in drain(queue)] == [1, 0, 2]
    assert queue.pop() is None


def test_what_fits_into_the_time_left():
    queue = WorkQueue(len)
    queue.fill([WorkUnit(0, 0, 10), WorkUnit(1, 0, 5), WorkUnit(2, 0, 2)])
    assert queue.pop(most=5.0) == WorkUnit(1, 0, 5)
    assert queue.pop(most=4.9) == WorkUnit(2, 0, 2)
    assert queue.pop(most=9.9) is None
    assert len(queue) == 1


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 7, 16, 64])
def test_the_culprit_is_found_and_nobody_else(n_tasks):
    for culprit in range(n_tasks):
        queue = WorkQueue(len)
        queue.fill([WorkUnit(3, 0, n_tasks)])
        done, failed, deaths = set(), [], 0
        while queue:
            unit = queue.pop()
            if unit.start <= culprit < unit.stop:
                deaths += 1
                if queue.died(unit) is None:
                    failed.append(unit)
            else:
                done |= set(range(unit.start, unit.stop))
        assert failed == [WorkUnit(3, culprit, culprit + 1)]
        assert done == set(range(n_tasks)) - {culprit}
        assert queue.attempts(failed[0]) == deaths
        # Two for the whole, one for each halving below it, three for the task alone.
        assert deaths <= 2 + max(n_tasks - 1, 0).bit_length() + DEATHS_OF_A_TASK


def test_a_single_death_does_not_split():
    queue = WorkQueue(len)
    queue.fill([WorkUnit(0, 0, 8)])
    unit = queue.pop()
    assert queue.died(unit) == (unit,)
    assert drain(queue) == [unit]
