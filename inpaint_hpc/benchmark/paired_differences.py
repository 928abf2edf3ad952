"""Two benchmarks of the same tasks against each other, paired: what differs between hosts cancels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .metrics import share_of
from .score import ScoredTask

COMPARED = {"one_sample": "one_sample", "top1": "top1", "any_k": "any", "les": "les"}


def paired_differences(
    first: Sequence[ScoredTask], second: Sequence[ScoredTask], by: str = "ion"
) -> list[dict[str, Any]]:
    """Differences of shares, second minus first, one row for each group and, last, all of them.

    Args:
        first, second: of `score_tasks`; tasks are paired by the name of the host and the guests.
        by: as `summary`.

    Returns:
        Rows with `group`, `pairs`, `only_first` and `only_second` (tasks without a partner) and, for each of
        `one_sample`, `top1`, `any_k` and, where all pairs have it, `les`, a dictionary: shares of pairs `first` and
        `second`, their `difference` and `low` and `high`, its 95 % interval of a bootstrap over frameworks; None
        without pairs.
    """
    one, two = ({(task.host, task.guests): task for task in scored} for scored in (first, second))
    groups: dict[Any, None] = dict.fromkeys(sorted({getattr(task, by) for task in [*first, *second]}))
    rows = [_compared(str(group), *({k: t for k, t in side.items() if getattr(t, by) == group} for side in (one, two)))
            for group in groups]  # fmt: skip
    return rows if len(rows) == 1 else [*rows, _compared("all", one, two)]


def _compared(group: str, one: dict[Any, ScoredTask], two: dict[Any, ScoredTask]) -> dict[str, Any]:
    both = [key for key in one if key in two]
    row: dict[str, Any] = {
        "group": group,
        "pairs": len(both),
        "only_first": len(one) - len(both),
        "only_second": len(two) - len(both),
    }
    frameworks = [one[key].framework for key in both]
    for name, attribute in COMPARED.items():
        if attribute == "les" and (not both or any(side[key].les is None for key in both for side in (one, two))):
            continue
        a, b = ([float(getattr(side[key], attribute)) for key in both] for side in (one, two))
        gain = share_of([y - x for x, y in zip(a, b, strict=True)], frameworks)
        row[name] = {
            "first": sum(a) / len(a) if a else None,
            "second": sum(b) / len(b) if b else None,
            "difference": gain.mean,
            "low": gain.low,
            "high": gain.high,
        }
    return row
