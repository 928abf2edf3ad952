"""Searches that ask for energies step by step, so that those of many tasks are computed in one call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np

Found = TypeVar("Found")
Steps = Generator[Any, np.ndarray, Found]
"""A search that yields a sequence of what it wants energies of, is sent them (NaN where one failed), and returns what
it found."""


def driven(steps: Steps[Found], energies: Callable[[Any], np.ndarray]) -> Found:
    """What a search finds alone."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(energies(wanted))
    except StopIteration as end:
        return end.value


def in_lockstep(searches: Sequence[Steps[Found]], energies: Callable[[list[Any]], np.ndarray]) -> list[Found]:
    """What searches find that go on together: in each turn, all energies that they wait for in one call.

    Args:
        searches: each yields lists.
        energies: of a list of what they yield.
    """
    found: dict[int, Found] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(searches)))  # None starts a generator
    while answers:
        wanted: dict[int, list[Any]] = {}
        for row, answer in answers.items():
            try:
                wanted[row] = searches[row].send(answer)
            except StopIteration as end:
                found[row] = end.value
        everything = [one for several in wanted.values() for one in several]
        values = energies(everything) if everything else np.zeros(0)
        ends = np.cumsum([len(several) for several in wanted.values()])
        answers = dict(zip(wanted, np.split(values, ends[:-1]), strict=True)) if wanted else {}
    return [found[row] for row in range(len(searches))]
