"""Search for the orderings of n guests with the lowest energies, within a budget of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .annealing import anneal_in_surrogate, annealing, random_orderings
from .enumeration import LIMIT, OrderingKeys, inequivalent_orderings, symmetric_orderings
from .lockstep import Steps, driven
from .ordering_space import OrderingSpace
from .surrogate_energy import Surrogate

Evaluate = Callable[[np.ndarray], np.ndarray]
"""Orderings int64 (M, n) -> energies of the cell in eV (M,), NaN where it failed: one evaluation each."""

ROUND = 12  # evaluations between two fits of the surrogate
CHAINS = 48  # of the annealing in the surrogate
MOVES = 40  # per guest and chain
CLIMBERS = 6  # chains that are annealed with true energies
SYMMETRIC_SHARE = 0.25  # of a round's evaluations, for the most symmetric orderings


@dataclass(frozen=True)
class OrderingSearchResult:
    """Orderings whose energy was computed, lowest first.

    Attributes:
        orderings: sites in increasing order, int64 (M, n).
        energies: eV per cell, float64 (M,), NaN last.
        symmetry: operations of the host that leave each ordering as it is, int64 (M,).
        evaluations: energies computed.
        known: orderings that the surrogate assessed.
        complete: these are all the orderings there are.
    """

    orderings: np.ndarray
    energies: np.ndarray
    symmetry: np.ndarray
    evaluations: int
    known: int
    complete: bool

    def __len__(self) -> int:
        return len(self.orderings)


def search_orderings(
    space: OrderingSpace,
    counts: Mapping[int, int],
    evaluate: Evaluate,
    budget: int = 48,
    seed: int = 0,
    limit: int = LIMIT,
    progress: Callable[[int, int], None] | None = None,
) -> OrderingSearchResult:
    """Search the orderings of a space.

    All inequivalent orderings are enumerated if there are at most `limit`; otherwise those that keep some symmetry and
    those that annealing in the surrogate finds.  Those lowest in the surrogate are evaluated in rounds, and it is
    fitted again after each.  In the second half of the budget, if the enumeration was not complete, the best are
    annealed with true energies, guided by the surrogate.

    Args:
        space: the sites.
        counts: atomic number -> guests.
        evaluate: gives the true energies.
        budget: maximum number of evaluations.
        seed: the same seed gives the same result.
        limit: maximum number of orderings enumerated.
        progress: called with (evaluations, budget).

    Raises:
        ValueError: a budget below 1.
    """
    if budget < 1:
        raise ValueError(f"the budget must be at least one evaluation, not {budget}")
    return driven(ordering_search(space, counts, budget, seed, limit, progress), evaluate)


def ordering_search(
    space: OrderingSpace,
    counts: Mapping[int, int],
    budget: int,
    seed: int = 0,
    limit: int = LIMIT,
    progress: Callable[[int, int], None] | None = None,
) -> Steps[OrderingSearchResult]:
    """`search_orderings` step by step: yields orderings, is sent their energies, so that those of many searches can be
    computed in one call."""
    return _Search(space, counts, budget, seed, limit, progress).run()


class _Search:
    def __init__(self, space, counts, budget, seed, limit, progress) -> None:
        self.space = space
        self.counts = {int(z): int(n) for z, n in counts.items() if n}
        self.budget, self.seed, self.limit, self.progress = budget, seed, limit, progress
        self.keys = OrderingKeys(space.permutations)
        self.surrogate = Surrogate(space)
        self.pool = np.zeros((0, sum(self.counts.values())), dtype=np.int64)
        self.symmetry = np.zeros(0, dtype=np.int64)
        self.energies = np.zeros(0)  # +inf: not evaluated, NaN: failed
        self.rows: dict[int, int] = {}
        self.evaluations = 0

    def run(self) -> Steps[OrderingSearchResult]:
        every = inequivalent_orderings(self.space, self.counts, self.limit)
        complete = every is not None
        if every is not None:
            self._add(every)
        else:
            self._add(symmetric_orderings(self.space, self.counts, self.seed, limit=self.limit))
            self._explore(0)
        if not len(self.pool):
            return self._found(complete)
        learning = self.budget if complete else (self.budget + 1) // 2
        turn = 0
        while self.evaluations < min(learning, len(self.pool)):
            yield from self._evaluate(self._promising(min(ROUND, learning - self.evaluations)))
            self.surrogate.fit(*self._known())
            turn += 1
            if not complete:
                self._explore(turn)
        if not complete:
            yield from self._climb()
        return self._found(complete)

    def _add(self, orderings: np.ndarray) -> np.ndarray:
        """Rows of orderings in the pool, new ones appended."""
        keys = self.keys(orderings).tolist()
        new = [k for k in dict.fromkeys(keys) if k not in self.rows]
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        if new:
            fresh = np.asarray(orderings)[[first[key] for key in new]]
            for key in new:
                self.rows[key] = len(self.rows)
            self.pool = np.concatenate([self.pool, fresh])
            self.symmetry = np.concatenate([self.symmetry, self.keys.symmetry(fresh)])
            self.energies = np.concatenate([self.energies, np.full(len(fresh), np.inf)])
        return np.array([self.rows[key] for key in keys], dtype=np.int64)

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        done = ~np.isinf(self.energies)
        return self.pool[done], self.energies[done]

    def _promising(self, count: int) -> np.ndarray:
        """Rows to evaluate next: the lowest by the surrogate, and among the lower half the most symmetric ones."""
        open_rows = np.flatnonzero(np.isinf(self.energies))
        guess = np.round(self.surrogate.energies(self.pool[open_rows]), 6)
        order = open_rows[np.lexsort((self.symmetry[open_rows] * -1, guess))]
        symmetric = int(SYMMETRIC_SHARE * count)
        chosen = order[: count - symmetric]
        rest = order[count - symmetric : max(count, len(order) // 2)]
        rest = rest[np.argsort(-self.symmetry[rest], kind="stable")]
        return np.concatenate([chosen, rest[: count - len(chosen)]])

    def _evaluate(self, rows: np.ndarray) -> Steps[None]:
        rows = np.unique(rows[np.isinf(self.energies[rows])])[: self.budget - self.evaluations]
        if not len(rows):
            return
        values = np.asarray((yield self.pool[rows]), dtype=np.float64)
        self.energies[rows] = np.where(np.isfinite(values), values, np.nan)
        self.evaluations += len(rows)
        if self.progress is not None:
            self.progress(self.evaluations, self.budget)

    def _explore(self, turn: int) -> None:
        """Add orderings found by annealing in the surrogate to the pool."""
        starts = random_orderings(self.space, self.counts, CHAINS, [self.seed, turn, 1])
        if not len(starts):
            return
        spread = max(0.05, float(np.std(self.surrogate.energies(starts))))
        steps = MOVES * starts.shape[1]
        seed = [self.seed, turn, 2]
        orderings, energies = anneal_in_surrogate(self.surrogate, starts, steps, spread, 0.05 * spread, seed)
        orderings, energies = orderings[energies < 1e5], energies[energies < 1e5]
        _, first = np.unique(self.keys.plain(orderings), return_index=True)
        lowest = first[np.argsort(np.round(energies[first], 6), kind="stable")[: self.limit // 8]]
        self._add(orderings[lowest])

    def _climb(self) -> Steps[None]:
        """Anneal the best orderings with true energies; orderings evaluated before cost nothing."""
        done = np.flatnonzero(np.isfinite(self.energies))
        starts = done[np.argsort(self.energies[done], kind="stable")[:CLIMBERS]]
        if not len(starts):
            return
        turn = 0
        current = starts
        while self.evaluations < self.budget and turn < self.budget:
            before = self.evaluations
            yield from self._annealed(self.pool[current], turn)
            if self.evaluations == before:
                # All neighbours tried are known: take the next best by the surrogate.
                if not np.isinf(self.energies).any():
                    break
                yield from self._evaluate(self._promising(CLIMBERS))
            self.surrogate.fit(*self._known())
            done = np.flatnonzero(np.isfinite(self.energies))
            current = done[np.argsort(self.energies[done], kind="stable")[:CLIMBERS]]
            turn += 1

    def _annealed(self, starts: np.ndarray, turn: int) -> Steps[None]:
        chains = annealing(self.space, starts, 2, 0.1, 0.03, [self.seed, turn, 3], self.surrogate.energies)
        try:
            orderings = next(chains)
            while True:
                rows = self._add(orderings)
                yield from self._evaluate(rows)
                orderings = chains.send(self.energies[rows])
        except StopIteration:
            return

    def _found(self, complete: bool) -> OrderingSearchResult:
        done = np.flatnonzero(~np.isinf(self.energies))
        order = done[np.lexsort((done, np.round(self.energies[done], 6)))]
        return OrderingSearchResult(
            self.pool[order],
            self.energies[order],
            self.symmetry[order],
            self.evaluations,
            len(self.pool),
            complete and len(order) == len(self.pool),
        )
