"""Searches that go on together, in this process or in others that may end."""

import os
import signal

import numpy as np
import pytest

from inpaint_hpc.orderings import lockstep
from inpaint_hpc.orderings.lockstep import Search, advanced, driven, in_lockstep
from inpaint_hpc.pipeline.analysis_pool import AnalysisPool


def sums(start, turns):
    """Yields a row of numbers and adds up what it is sent; the process is part of what it finds."""
    total, asked = float(start), []
    for turn in range(turns):
        asked.append(turn)
        answers = yield np.full(turn + 1, total)
        total += answers.sum()
    return total, os.getpid(), tuple(asked)


def fatal(start, turns, owner, marker):
    """The same, but the first process that comes to the third turn ends, unless it is the owner."""
    steps = sums(start, turns)
    wanted = next(steps)
    try:
        for turn in range(turns):
            if turn == 3 and os.getpid() != owner and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            wanted = steps.send((yield wanted))
    except StopIteration as end:
        return end.value


def raising(start):
    yield np.zeros(1)
    raise ValueError(f"no {start}")


def doubled(wanted):
    return {row: 2.0 * one for row, one in wanted.items()}


def alone(begin, arguments):
    return driven(begin(*arguments), lambda wanted: 2.0 * wanted)


TURNS = [3, 0, 7, 1, 5, 5, 4]


def test_each_finds_what_it_finds_alone_in_as_few_calls_as_the_longest_needs():
    calls = []

    def energies(wanted):
        calls.append(sorted(wanted))
        return doubled(wanted)

    searches = [Search(f"s{k}", sums, (k, turns)) for k, turns in enumerate(TURNS)]
    found = in_lockstep(searches, energies)
    assert [one for one, _ in found] == [alone(sums, (k, turns)) for k, turns in enumerate(TURNS)]
    assert len(calls) == max(TURNS) and calls[0] == [0, 2, 3, 4, 5, 6] and calls[-1] == [2]
    assert all(seconds >= 0 for _, seconds in found) and not lockstep._WAITING


def test_a_search_that_another_process_had_is_begun_anew():
    search = Search("one", sums, (1.0, 6), key="a")
    answers = ()
    for _ in range(4):
        lockstep._WAITING.clear()  # as in a process that never saw it
        step = advanced(Search("one", sums, (1.0, 6), key="a", answers=answers))
        answers = (*answers, 2.0 * step.wanted)
    kept = search
    for k in range(5):
        step = advanced(Search("one", sums, (1.0, 6), key="b", answers=answers[:k]))
        if k < 4:
            assert np.array_equal(2.0 * step.wanted, answers[k])
    assert kept.answers == () and len(lockstep._WAITING) == 2
    lockstep._WAITING.clear()


def test_no_more_searches_wait_in_a_process_than_it_may_hold(monkeypatch):
    monkeypatch.setattr(lockstep, "_MOST", 2)
    searches = [Search(f"s{k}", sums, (k, 5)) for k in range(6)]
    found = in_lockstep(searches, doubled)
    assert [one for one, _ in found] == [alone(sums, (k, 5)) for k in range(6)]
    assert not lockstep._WAITING


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_find_the_same_each_search_in_one_of_them(processes):
    pool = AnalysisPool(processes)
    try:
        searches = [Search(f"s{k}", sums, (k, turns)) for k, turns in enumerate(TURNS)]
        found = [one for one, _ in in_lockstep(searches, doubled, pool.map)]
        for k, (total, process, asked) in enumerate(found):
            assert (total, asked) == (alone(sums, (k, TURNS[k]))[0], tuple(range(TURNS[k])))
            assert process in pool.pids and process == found[k % processes][1]
        assert len({process for _, process, _ in found}) == processes
    finally:
        pool.close()


def test_a_process_that_ends_costs_no_search(tmp_path):
    pool = AnalysisPool(2)
    try:
        searches = [Search("fatal", fatal, (0, 6, os.getpid(), str(tmp_path / "ended")))]
        searches += [Search(f"s{k}", sums, (k, 6)) for k in range(1, 6)]
        found = [one for one, _ in in_lockstep(searches, doubled, pool.map)]
        assert (tmp_path / "ended").exists()
        assert [total for total, _, _ in found] == [alone(sums, (k, 6))[0] for k in range(6)]
    finally:
        pool.close()


def test_what_a_search_raises_is_raised():
    pool = AnalysisPool(2)
    try:
        for apply in (map, pool.map):
            with pytest.raises(ValueError, match="no good"):
                in_lockstep([Search("bad", raising, ("good",)), Search("s", sums, (1, 3))], doubled, apply)
    finally:
        pool.close()
        lockstep._WAITING.clear()
