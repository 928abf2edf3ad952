"""StructureMatcher on first candidates, beside the verdict of the distance."""

from dataclasses import replace

import numpy as np
import pytest
from scored_tasks import SITES, SPINEL, record

from inpaint_hpc.benchmark.matchers import with_matchers
from inpaint_hpc.benchmark.results import markdown
from inpaint_hpc.benchmark.score import score_record, summary

# (V / N)^(1/3) of the crystal with two guests.
LENGTH = (SPINEL.volume / (len(SPINEL) + 2)) ** (1 / 3)


def shifted(share):
    """One guest on its site, the other off it by `share` of (V / N)^(1/3)."""
    moved = SITES.copy()
    moved[0] += share * LENGTH * np.array([0.0, 0.0, 1.0]) @ np.linalg.inv(SPINEL.lattice)
    return moved


@pytest.mark.parametrize(
    ("share", "verdicts"),
    [(0.0, (True, True, True)), (0.27, (False, True, True)), (0.45, (False, False, True))],
)
def test_tolerances_go_from_strict_to_loose(share, verdicts):
    task = record(1, [SITES], [shifted(share)])
    (one,) = with_matchers([score_record(task)], [task], {})
    assert (one.match_strict, one.match_default, one.match_loose) == verdicts
    assert one.top1 == (share < 0.2)


def test_columns_are_there_where_all_tasks_have_them():
    tasks = [record(1, [SITES], [SITES]), record(2, [SITES], []), record(3, [], [], guests=(11, 11))]
    scored = [score_record(task) for task in tasks]
    assert "match" not in markdown(summary(scored), "ion")
    seen = []
    matched = with_matchers(scored, tasks, {}, seen.append)
    rows = summary(matched, "ion")
    assert seen == [1, 2, 3] and rows[0]["match_default"] == 0.5 and rows[1]["match_loose"] == 0.0
    assert "| match 0.2/0.2 | match 0.2/0.3 | match 0.3/0.5 |" in markdown(rows, "ion")


def test_another_reference_may_be_given():
    """As of electrodes: the discharged crystal itself, here one without the right cell."""
    task = record(1, [SITES], [SITES])
    whole = SPINEL.with_guests([3, 3], SITES)
    stretched = replace(whole, lattice=whole.lattice @ np.diag([1.0, 1.0, 2.0]))
    (one,) = with_matchers([score_record(task)], [task], {SPINEL.name: stretched})
    assert one.top1 and not one.match_loose
