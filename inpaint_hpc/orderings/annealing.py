"""Simulated annealing of orderings by moves of one guest to a free site (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi,
Science 220, 671 (1983)), for many chains at once, so that energies are computed in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .lockstep import Steps, driven
from .ordering_space import OrderingSpace

Energies = Callable[[np.ndarray], np.ndarray]
"""Orderings int64 (M, n) -> energies in eV (M,); not finite where an ordering is impossible."""

PROPOSALS = 8  # moves of which the guide chooses one


def anneal(
    space: OrderingSpace,
    starts: np.ndarray,
    energies: Energies,
    steps: int,
    hot: float = 0.5,
    cold: float = 0.02,
    seed: int | Sequence[int] = 0,
    guide: Energies | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Chains of orderings, each from its own start, cooled geometrically.

    Args:
        space: the sites.
        starts: orderings, int64 (C, n).
        energies: called with C orderings at a time, once for the starts and once per step.
        steps: moves tried by each chain.
        hot, cold: first and last temperature, eV.
        seed: seed of moves and decisions.
        guide: cheap energies; one of 8 moves is drawn by their Boltzmann weights and tried.

    Returns:
        Every ordering that was evaluated, (C * (steps + 1), n), sites in increasing order, and its energy.
    """
    return driven(annealing(space, starts, steps, hot, cold, seed, guide), energies)


def annealing(
    space: OrderingSpace,
    starts: np.ndarray,
    steps: int,
    hot: float,
    cold: float,
    seed: int | Sequence[int],
    guide: Energies | None = None,
) -> Steps[tuple[np.ndarray, np.ndarray]]:
    """`anneal` step by step: yields orderings, is sent their energies."""
    rng = np.random.default_rng(seed)
    moves = _Moves(space)
    current = np.sort(np.asarray(starts, dtype=np.int64), axis=1)
    blocked = moves.blocked(current)
    seen = [current.copy()]
    energy = _finite((yield seen[0]))
    values = [energy.copy()]
    for step in range(steps):
        temperature = hot * (cold / hot) ** (step / max(1, steps - 1))
        moved, left, target = moves.drawn(current, blocked, rng, guide, temperature)
        value = _finite((yield moved))
        seen.append(moved)
        values.append(value)
        uphill = np.maximum(value - energy, 0.0)
        (accepted,) = (rng.random(len(current)) < np.exp(-uphill / temperature)).nonzero()
        current[accepted] = moved[accepted]
        energy[accepted] = value[accepted]
        blocked[accepted] += moves.taken.take(target[accepted], axis=0) - moves.taken.take(left[accepted], axis=0)
    return np.concatenate(seen), np.concatenate(values)


class _Moves:
    """Moves of one guest to another site of its element.

    Which sites are free follows from the number of guests that block each, kept from step to step: looking at all
    guests of an ordering again in each step took longer than everything else.
    """

    def __init__(self, space: OrderingSpace) -> None:
        self.numbers = space.numbers
        self.one_element = bool((space.numbers == space.numbers[:1]).all())
        self.excluded = space.excluded.astype(np.int16)
        # Sites that a guest takes from others, its own among them.
        self.taken = self.excluded + np.eye(len(space), dtype=np.int16)

    def blocked(self, orderings: np.ndarray) -> np.ndarray:
        """Guests of each ordering (C, n) that take each site, int16 (C, S)."""
        return self.taken[orderings].sum(axis=1, dtype=np.int16)

    def drawn(
        self,
        current: np.ndarray,
        blocked: np.ndarray,
        rng: np.random.Generator,
        guide: Energies | None,
        temperature: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A neighbour of every ordering (C, n), itself if there is none; the site left and the site taken, (C,)."""
        if guide is None:
            return self._move(current, blocked, rng)
        several = [self._move(current, blocked, rng) for _ in range(PROPOSALS)]
        moved, left, target = (np.stack(part, axis=1) for part in zip(*several, strict=True))
        weights = -_finite(guide(moved.reshape(-1, current.shape[1]))).reshape(len(current), PROPOSALS) / temperature
        # Gumbel's trick: the largest of log weight + noise is a draw by the weights.
        choice = np.arange(len(current)), (weights + rng.gumbel(size=weights.shape)).argmax(axis=1)
        return moved[choice], left[choice], target[choice]

    def _move(
        self, current: np.ndarray, blocked: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chains, n = current.shape
        rows = np.arange(chains)
        leaving = rng.integers(n, size=(chains,))
        left = current[rows, leaving]
        # The guest that leaves takes nothing from the others, except its own site: it is to move.
        unfit = blocked != self.excluded.take(left, axis=0)
        if not self.one_element:
            unfit |= self.numbers != self.numbers[left][:, None]
        score = rng.random(unfit.shape)
        np.putmask(score, unfit, -1.0)
        target = score.argmax(axis=1)
        target = np.where(unfit[rows, target], left, target)
        moved = current.copy()
        moved[rows, leaving] = target
        moved.sort(axis=1)
        return moved, left, target


def random_orderings(
    space: OrderingSpace, counts: Mapping[int, int], chains: int, seed: int | Sequence[int] = 0, tries: int = 30
) -> np.ndarray:
    """Orderings filled at random, site by site, likely sites more often: int64 (C, n), C at most `chains`.

    Fewer, or none, if guests block each other; each chain tries `tries` times.
    """
    rng = np.random.default_rng(seed)
    wanted = np.repeat(sorted(counts), [counts[z] for z in sorted(counts)])
    likelihood = np.log(np.maximum(space.occupancy, 1e-3))
    found = []
    for _ in range(chains):
        for _ in range(tries):
            ordering = _fill(space, rng.permutation(wanted), likelihood, rng)
            if ordering is not None:
                found.append(np.sort(ordering))
                break
    return np.array(found, dtype=np.int64).reshape(-1, len(wanted))


def _fill(
    space: OrderingSpace, wanted: np.ndarray, likelihood: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    free = np.ones(len(space), dtype=bool)
    taken = []
    for z in wanted:
        score = np.where(free & (space.numbers == z), likelihood + rng.gumbel(size=len(space)), -np.inf)
        site = int(score.argmax())
        if not np.isfinite(score[site]):
            return None
        taken.append(site)
        free[site] = False
        free &= ~space.excluded[site]
    return np.array(taken, dtype=np.int64)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(values), values, 1e6)
