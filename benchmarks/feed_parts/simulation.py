"""Virtual time: actors with units in flight, processes for the analysis, and the card that all of them share.

What is modelled: a call launches its kernels one by one, in its actor's interpreter, which its threads have in turns;
two of the units in flight of an actor use the networks at a time; calls share the card by the kernels that they have to
run, as under MPS; a core does one thing at a time, in the order of arrival.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from .card import Call, Card, Cost
from .standins import Analysed, Item, Own, Step

AHEAD = 4  # as pipeline/analysis_pool.py
USE_NETWORKS = 2  # as campaign/worker.py
TURN = 0.005  # s after which a thread lets others have the interpreter, as sys.getswitchinterval()

Resume = Callable[[], None]
Wait = Callable[[Resume], None]
Process = Generator[Wait, None, None]


@dataclass(frozen=True)
class Setup:
    """What works.

    Attributes:
        actors: on the card.
        analysis: processes of each actor; 0 does the analysis in the actor.
        units: in flight in each actor.
        cores: of the machine.
        oldest_first: of the units in flight in an actor, the one begun first has the processes; else all alike.
    """

    actors: int
    analysis: int
    units: int
    cores: int
    oldest_first: bool = False


@dataclass(frozen=True)
class Played:
    """What a setup does with a number of tasks.

    Attributes:
        seconds: of the whole campaign, with its begin, when no unit is done yet, and its end, when some actors have
            nothing left to do.
        tasks_per_s: between a quarter and three quarters of the units, as all that follows.
        in_calls, kernels, work: shares of the time in which a call was under way, kernels ran, and the work at the rate
            of full batches.
        cores: share of the cores' time that was used.
    """

    seconds: float
    tasks_per_s: float
    in_calls: float
    kernels: float
    work: float
    cores: float


class _Slots:
    """So many may have it at once; others wait in the order of their ranks, and of arrival."""

    def __init__(self, number: int) -> None:
        self._free, self._waiting, self._order = number, list[tuple[int, int, Resume]](), count()

    def take(self, resume: Resume, rank: int = 0) -> None:
        if self._free:
            self._free -= 1
            resume()
        else:
            heapq.heappush(self._waiting, (rank, next(self._order), resume))

    def give(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2]()
        else:
            self._free += 1


class _Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Resume]] = []
        self._order = count()

    def after(self, seconds: float, resume: Resume) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), resume))

    def run(self) -> None:
        while self._events:
            self.now, _, resume = heapq.heappop(self._events)
            resume()


class _SharedCard:
    """Calls under way: all at full speed while their kernels fit, else slowed down alike."""

    def __init__(self, clock: _Clock) -> None:
        self._clock, self._calls, self._since, self._version = clock, list[list](), 0.0, 0
        self.in_calls = self.kernels = self.work = 0.0

    def start(self, cost: Cost, resume: Resume) -> None:
        self._advance()
        self._calls.append([cost.length, cost.kernels / cost.length, resume])
        self.work += cost.work
        self._plan()

    def _share(self) -> float:
        return sum(share for _, share, _ in self._calls)

    def _speed(self) -> float:
        return 1.0 / max(1.0, self._share())

    def _advance(self) -> None:
        passed, self._since = self._clock.now - self._since, self._clock.now
        if self._calls and passed:
            speed = self._speed()
            self.in_calls += passed
            self.kernels += passed * speed * self._share()
            for call in self._calls:
                call[0] -= passed * speed

    def _plan(self) -> None:
        self._version += 1
        if self._calls:
            left = max(0.0, min(left for left, _, _ in self._calls)) / self._speed()
            version = self._version
            self._clock.after(left, lambda: self._ended(version))

    def _ended(self, version: int) -> None:
        if version != self._version:  # another call has begun or ended since this was planned
            return
        self._advance()
        ended = [call for call in self._calls if call[0] <= 1e-9]
        self._calls = [call for call in self._calls if call[0] > 1e-9]
        self._plan()
        for _, _, resume in ended:
            resume()


class _Actor:
    """One interpreter, and its processes for the analysis."""

    def __init__(self, clock: _Clock, cores: _Slots, card: _SharedCard, setup: Setup, price: Callable) -> None:
        self._clock, self._cores, self._card, self._price = clock, cores, card, price
        self._interpreter, self._processes = _Slots(1), _Slots(max(1, setup.analysis))
        self._networks = _Slots(USE_NETWORKS)
        self._analysis = setup.analysis
        self._rank, self._oldest_first = 0, setup.oldest_first
        self.busy = 0.0

    def unit(self, steps: Sequence[Step]) -> Process:
        self._rank += 1
        rank = self._rank if self._oldest_first else 0
        holding = False
        for k, step in enumerate(steps):
            if isinstance(step, Analysed) and holding:
                self._networks.give()
                holding = False
            elif not holding and any(isinstance(later, Call) for later in steps[k:]):
                yield self._networks.take
                holding = True
            if isinstance(step, Own):
                yield from self._own(step.seconds)
            elif isinstance(step, Call):
                yield self._call(self._price(step))
            elif self._analysis:
                yield self._beside(step.items, rank)
            else:
                yield from self._own(sum(item.function + item.used for item in step.items))

    def _own(self, seconds: float) -> Process:
        while seconds > 0.0:
            yield self._on(self._interpreter, min(seconds, TURN))
            seconds -= TURN

    def _on(self, slots: _Slots | None, seconds: float) -> Wait:
        """A core for so long, once the slots have room."""

        def start(resume: Resume) -> None:
            def done() -> None:
                self._cores.give()
                if slots is not None:
                    slots.give()
                resume()

            def begin() -> None:
                self._cores.take(lambda: self._clock.after(seconds, done))

            self.busy += seconds
            if slots is None:
                begin()
            else:
                slots.take(begin)

        return start

    def _call(self, cost: Cost) -> Wait:
        def start(resume: Resume) -> None:
            waits = [2]

            def ended() -> None:
                waits[0] -= 1
                if not waits[0]:
                    resume()

            self._card.start(cost, ended)
            _run(self._own(cost.launching), ended)

        return start

    def _beside(self, items: Sequence[Item], rank: int) -> Wait:
        def start(resume: Resume) -> None:
            waiting, left = deque(items), [len(items)]

            def next_one() -> None:
                if waiting:
                    _run(self._task(waiting.popleft(), rank), ended)

            def ended() -> None:
                left[0] -= 1
                if not left[0]:
                    resume()
                next_one()

            for _ in range(min(AHEAD * self._analysis, len(items))):
                next_one()

        return start

    def _task(self, item: Item, rank: int) -> Process:
        # A process has its thread in the actor, which sends it a task and waits for the answer.
        yield lambda resume: self._processes.take(resume, rank)
        yield self._on(self._interpreter, item.sent)
        yield self._on(None, item.pickling + item.function)
        yield self._on(self._interpreter, item.received)
        self._processes.give()
        yield self._on(self._interpreter, item.used)


def _run(process: Process, resume: Resume = lambda: None) -> None:
    try:
        wait = next(process)
    except StopIteration:
        resume()
    else:
        wait(lambda: _run(process, resume))


def play(card: Card, units: Sequence[Sequence[Step]], setup: Setup, tasks: int) -> Played:
    """A campaign: units are handed out one after another until there are so many tasks; the last ones are full too.

    Args:
        card: its figures.
        units: steps of measured units, taken in turns.
        setup: what works.
        tasks: of the campaign, at least.
    """
    clock, cores = _Clock(), _Slots(setup.cores)
    shared = _SharedCard(clock)
    costs = {step: card.cost(step) for unit in units for step in unit if isinstance(step, Call)}
    actors = [_Actor(clock, cores, shared, setup, costs.__getitem__) for _ in range(setup.actors)]
    given, done, turns, seen = [0], [0], count(), list[tuple[float, ...]]()

    def lane(actor: _Actor, delay: float) -> Process:
        yield lambda resume: clock.after(delay, resume)  # as equal as units are, all would ask for the card together
        while given[0] < tasks:
            unit = units[next(turns) % len(units)]
            size = max(len(step.items) for step in unit if isinstance(step, Analysed))
            given[0] += size
            yield from actor.unit(unit)
            done[0] += size
            busy = sum(one.busy for one in actors) / setup.cores
            seen.append((clock.now, done[0], shared.in_calls, shared.kernels, shared.work, busy))

    alone = _Clock()
    _run(_Actor(alone, _Slots(setup.cores), _SharedCard(alone), setup, costs.__getitem__).unit(units[0]))
    alone.run()
    lanes = [actor for _ in range(setup.units) for actor in actors]
    for k, actor in enumerate(lanes):
        _run(lane(actor, alone.now * k / len(lanes)))
    clock.run()
    first, last = (np.array(seen[k]) for k in (len(seen) // 4, 3 * len(seen) // 4))
    passed, *rates = (last - first).tolist()
    return Played(clock.now, *(rate / passed for rate in rates))
