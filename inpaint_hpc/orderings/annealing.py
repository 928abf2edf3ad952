"""Simulated annealing of orderings by moves of one guest to a free site (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi,
Science 220, 671 (1983)), for many chains at once, so that energies are computed in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .lockstep import Steps, driven
from .ordering_space import OrderingSpace
from .surrogate_energy import Surrogate

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
    chains = _Chains(space, starts, seed)
    seen = [chains.current.copy()]
    energy = _finite((yield seen[0]))
    values = [energy.copy()]
    for temperature in _temperatures(steps, hot, cold):
        moved, left, target = chains.moves(guide, temperature)
        value = _finite((yield moved))
        seen.append(moved)
        values.append(value)
        accepted = chains.accept(moved, left, target, (value - energy) / temperature)
        energy[accepted] = value[accepted]
    return np.concatenate(seen), np.concatenate(values)


def anneal_in_surrogate(
    surrogate: Surrogate,
    starts: np.ndarray,
    steps: int,
    hot: float = 0.5,
    cold: float = 0.02,
    seed: int | Sequence[int] = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """`anneal` with a surrogate's energies, sums over pairs: that of a move follows from the field at two sites.

    Energies are right within rounding, and to six decimals those of `surrogate.energies`.
    """
    space, energies = surrogate.space, surrogate.energies
    site, pair = surrogate.matrix()
    pair = 0.5 * (pair + pair.T)
    chains = _Chains(space, starts, seed)
    rows = np.arange(len(chains.current))
    # What a guest would add to the energy on each site; on a taken one it counts itself as another guest.
    field = site + 0.5 * pair.diagonal() + pair[chains.current].sum(axis=1)
    seen, values = [chains.current.copy()], [energies(chains.current)]
    energy = values[0].copy()
    for temperature in _temperatures(steps, hot, cold):
        moved, left, target = chains.moves(None, temperature)
        change = (field[rows, target] - pair[left, target]) - (field[rows, left] - pair[left, left])
        seen.append(moved)
        values.append(energy + change)
        accepted = chains.accept(moved, left, target, change / temperature)
        energy[accepted] = values[-1][accepted]
        field[accepted] += pair.take(target[accepted], axis=0) - pair.take(left[accepted], axis=0)
    orderings, found = np.concatenate(seen), np.concatenate(values)
    # Rounding errors matter only halfway between two numbers of six decimals.
    halfway = np.abs(found * 1e6 % 1.0 - 0.5) < 1e-3
    found[halfway] = energies(orderings[halfway])
    return orderings, found


def _temperatures(steps: int, hot: float, cold: float) -> list[float]:
    return [hot * (cold / hot) ** (step / max(1, steps - 1)) for step in range(steps)]


class _Chains:
    """Orderings that change by moves of one guest to another site of its element.

    Which sites are free follows from the number of guests that block each, kept from step to step: looking at all
    guests of an ordering again in each step took longer than everything else.
    """

    def __init__(self, space: OrderingSpace, starts: np.ndarray, seed: int | Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)
        self.current = np.sort(np.asarray(starts, dtype=np.int64), axis=1)
        self._rows = np.arange(len(self.current))
        self._numbers = space.numbers
        self._one_element = bool((space.numbers == space.numbers[:1]).all())
        self._excluded = space.excluded.astype(np.int16)
        # Sites that a guest takes from others, its own among them, and the guests that take each site, (C, S).
        self._taken = self._excluded + np.eye(len(space), dtype=np.int16)
        self._blocked = self._taken[self.current].sum(axis=1, dtype=np.int16)

    def moves(self, guide: Energies | None, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A neighbour of every ordering (C, n), itself if there is none; the site left and the site taken, (C,)."""
        if guide is None:
            return self._move()
        several = [self._move() for _ in range(PROPOSALS)]
        moved, left, target = (np.stack(part, axis=1) for part in zip(*several, strict=True))
        weights = -_finite(guide(moved.reshape(-1, moved.shape[2]))).reshape(left.shape) / temperature
        # Gumbel's trick: the largest of log weight + noise is a draw by the weights.
        choice = self._rows, (weights + self.rng.gumbel(size=weights.shape)).argmax(axis=1)
        return moved[choice], left[choice], target[choice]

    def _move(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        leaving = self.rng.integers(self.current.shape[1], size=self._rows.shape)
        left = self.current[self._rows, leaving]
        # The guest that leaves takes nothing from the others, except its own site: it is to move.
        unfit = self._blocked != self._excluded.take(left, axis=0)
        if not self._one_element:
            unfit |= self._numbers != self._numbers[left][:, None]
        score = self.rng.random(unfit.shape)
        np.putmask(score, unfit, -1.0)
        target = score.argmax(axis=1)
        target = np.where(unfit[self._rows, target], left, target)
        moved = self.current.copy()
        moved[self._rows, leaving] = target
        moved.sort(axis=1)
        return moved, left, target

    def accept(self, moved: np.ndarray, left: np.ndarray, target: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Make some of the moves by their changes of the energy, in units of the temperature; rows of those."""
        (rows,) = (self.rng.random(len(moved)) < np.exp(-np.maximum(change, 0.0))).nonzero()
        self.current[rows] = moved[rows]
        self._blocked[rows] += self._taken.take(target[rows], axis=0) - self._taken.take(left[rows], axis=0)
        return rows


def random_orderings(
    space: OrderingSpace, counts: Mapping[int, int], chains: int, seed: int | Sequence[int] = 0, tries: int = 30
) -> np.ndarray:
    """Orderings filled at random, site by site, likely sites more often: int64 (C, n), C at most `chains`.

    Fewer, or none, if guests block each other; each chain tries `tries` times.
    """
    rng = np.random.default_rng(seed)
    wanted = np.repeat(sorted(counts), [counts[z] for z in sorted(counts)])
    likelihood = np.log(np.maximum(space.occupancy, 1e-3))
    of_element = {z: np.where(space.numbers == z, likelihood, -np.inf) for z in counts}
    found = []
    for _ in range(chains):
        for _ in range(tries):
            ordering = _fill(space, rng.permutation(wanted), of_element, rng)
            if ordering is not None:
                found.append(np.sort(ordering))
                break
    return np.array(found, dtype=np.int64).reshape(-1, len(wanted))


def _fill(
    space: OrderingSpace, wanted: np.ndarray, likelihood: Mapping[int, np.ndarray], rng: np.random.Generator
) -> np.ndarray | None:
    blocked = np.zeros(len(space), dtype=bool)
    taken = []
    for z in wanted.tolist():
        score = likelihood[z] + rng.gumbel(size=len(space))
        score[blocked] = -np.inf
        site = int(score.argmax())
        if score[site] == -np.inf:
            return None
        taken.append(site)
        blocked |= space.excluded[site]
        blocked[site] = True
    return np.array(taken, dtype=np.int64)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(values), values, 1e6)
