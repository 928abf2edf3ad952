"""What to sample (`Task`) and the result (`SampleSet`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from inpaint_hpc.crystals.batch import Crystal, content_bytes
from inpaint_hpc.errors import InputError

from .contact_distances import require_room

Guests = Mapping[Any, int] | Iterable[str | int]
"""Element -> count, or a list of elements, by symbol or atomic number."""


class Named(Protocol):
    """One task's part, by the name of the task; parts with an equal number `home` go to the same process."""

    @property
    def name(self) -> str:
        """Name of the task."""


Item = TypeVar("Item", bound=Named)
Found = TypeVar("Found")


class Apply(Protocol):
    """How a step is done for many tasks: `map`, or that of an `AnalysisPool`."""

    def __call__(self, function: Callable[[Item], Found], items: Iterable[Item], /) -> Iterable[Found]:
        """Results of a function, in the order of the items."""


@dataclass(frozen=True, eq=False)
class Task:
    """One host and the guests to place in it.

    Attributes:
        host: the crystal that is kept unchanged; without atoms for all-atom generation.
        guests: sorted atomic numbers, one per guest.  May be given as a mapping of element to count,
            `{"Li": 4}` or `{3: 4}`, or as a list of elements, `["Li", "Li"]` or `[3, 3]`.
        name: name in tables and messages; by default the host's name.
        random_id: used for random numbers instead of the task's `id`, if the host contains computed positions, whose
            last bits differ between machines.

    Raises:
        InputError: no guests, an unknown element, a host with coordinates that are not numbers or with a flat cell,
            or more guests than the cell can hold.
    """

    host: Crystal
    guests: tuple[int, ...]
    name: str = ""
    random_id: str = ""

    if TYPE_CHECKING:  # what a task is made from is more than what it holds

        def __init__(self, host: Crystal, guests: Guests, name: str = "", random_id: str = "") -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.host.name or "host")
        if not (np.isfinite(self.host.frac_coords).all() and np.isfinite(self.host.lattice).all()):
            raise InputError(f"{self.name}: the host has coordinates or cell vectors that are not finite numbers")
        edges = np.linalg.norm(self.host.lattice, axis=1)
        if self.host.volume <= 1e-3 * edges.prod():
            raise InputError(f"{self.name}: the cell is flat (its volume is {self.host.volume:.3g} A^3)")
        object.__setattr__(self, "guests", guest_numbers(self.guests))
        if not self.guests:
            raise InputError(f"{self.name}: no guests to place: request at least one")
        require_room(self.host, np.array(self.guests))

    @cached_property
    def id(self) -> str:
        """sha256 of the host's atomic numbers, coordinates and lattice and of the guests: same content, same id."""
        host = self.host
        content = content_bytes(host.numbers, host.frac_coords, host.lattice, np.array(self.guests))
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of one task.

    Attributes:
        task: what was sampled.
        frac_coords: guests in fractional coordinates of the host's lattice, in [0, 1), float64 (S, n_guests, 3),
            in the order of `task.guests`.
        indices: index of each sample, int64 (S,); index, task and settings determine the sample.
        nfe: network evaluations spent on each sample.
    """

    task: Task
    frac_coords: np.ndarray
    indices: np.ndarray
    nfe: int

    def __len__(self) -> int:
        return len(self.indices)

    def crystals(self) -> list[Crystal]:
        """Host and guests of each sample; host rows are bit-for-bit those of `task.host`."""
        return [self.task.host.with_guests(np.array(self.task.guests), coords) for coords in self.frac_coords]


def guest_numbers(guests: Guests) -> tuple[int, ...]:
    """Sorted atomic numbers of guests given as element -> count or as a list of elements.

    Raises:
        InputError: unknown element, or a count that is not a whole number of at least 0.
    """
    if isinstance(guests, str):
        guests = [guests]
    counts = guests.items() if isinstance(guests, Mapping) else [(element, 1) for element in guests]
    numbers: list[int] = []
    for element, count in counts:
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 0:
            raise InputError(f"the number of {element} guests must be a whole number, not {count!r}")
        numbers += [_atomic_number(element)] * int(count)
    return tuple(sorted(numbers))


def _atomic_number(element: str | int) -> int:
    from ase.data import atomic_numbers

    if isinstance(element, Integral) and 1 <= element <= 118:
        return int(element)
    if isinstance(element, str) and atomic_numbers.get(element, 0) > 0:
        return atomic_numbers[element]
    raise InputError(f"unknown element {element!r}: give a symbol such as Li or an atomic number from 1 to 118")
