"""Searches that ask for energies step by step, so that those of many tasks are computed in one call, and what they do
between two questions may run in other processes.

A search there is a generator that waits in its process.  Each step brings all answers so far along, so that a process
that does not have it, because the one that had it ended, begins it anew and comes to the same point.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from inpaint_hpc.sampling.tasks import Apply

Found = TypeVar("Found")
Steps = Generator[Any, np.ndarray, Found]
"""A search that yields what it wants energies of, is sent them (NaN where one failed), and returns what it found."""

_NUMBERS = itertools.count()
_MOST = 1024  # searches that wait in a process
_WAITING: OrderedDict[str, tuple[int, Steps[Any]]] = OrderedDict()
"""Searches of this process by key, with the number of answers that they have been sent."""


@dataclass(frozen=True, eq=False)
class Search(Generic[Found]):
    """A search and the answers that it has been given.  All of it can be pickled.

    Attributes:
        name: of its task.
        begin: makes its steps from `arguments`; stands in a module.
        arguments: of `begin`.
        home: searches with the same number go to the same process, if there are several.
        key: of this search alone.
        answers: so far.
    """

    name: str
    begin: Callable[..., Steps[Found]]
    arguments: tuple[Any, ...]
    home: int = 0
    key: str = ""
    answers: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class Advanced:
    """Where a search is after its last answer.

    Attributes:
        wanted: what it wants energies of next; None when it has ended.
        found: what it returned then.
        seconds: that this took.
    """

    wanted: Any
    found: Any
    seconds: float


def driven(steps: Steps[Found], energies: Callable[[Any], np.ndarray]) -> Found:
    """What a search finds alone."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(energies(wanted))
    except StopIteration as end:
        return end.value


def advanced(search: Search[Found]) -> Advanced:
    """Go on with a search to its next question, in this process."""
    begun = time.perf_counter()
    sent, steps = _WAITING.pop(search.key, (-1, None))
    unsent: Sequence[Any] = search.answers[-1:]
    if steps is None or sent != len(search.answers) - 1:
        steps, unsent = search.begin(*search.arguments), (None, *search.answers)  # None starts a generator
    try:
        for answer in unsent:
            wanted = steps.send(answer)
    except StopIteration as end:
        return Advanced(None, end.value, time.perf_counter() - begun)
    _WAITING[search.key] = len(search.answers), steps
    while len(_WAITING) > _MOST:
        _WAITING.popitem(last=False)
    return Advanced(wanted, None, time.perf_counter() - begun)


def in_lockstep(
    searches: Sequence[Search[Found]],
    energies: Callable[[dict[int, Any]], dict[int, np.ndarray]],
    apply: Apply = map,
) -> list[tuple[Found, float]]:
    """What searches find that go on together, each with the seconds that it took by itself.

    Args:
        searches: without answers.
        energies: of what several of them want, by position in `searches`, in one call.
        apply: takes `advanced` and searches; `map` goes on with them here, one after another.
    """
    found: dict[int, tuple[Found, float]] = {}
    going = {
        row: replace(search, home=row, key=f"{os.getpid()}-{next(_NUMBERS)}") for row, search in enumerate(searches)
    }
    seconds = dict.fromkeys(going, 0.0)
    while going:
        wanted: dict[int, Any] = {}
        for row, one in zip(list(going), list(apply(advanced, list(going.values()))), strict=True):
            seconds[row] += one.seconds
            if one.wanted is None:
                found[row] = one.found, seconds[row]
                del going[row]
            else:
                wanted[row] = one.wanted
        answers = energies(wanted) if wanted else {}
        going = {row: replace(search, answers=(*search.answers, answers[row])) for row, search in going.items()}
    return [found[row] for row in range(len(searches))]
