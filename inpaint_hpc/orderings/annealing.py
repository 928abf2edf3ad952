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
    current = np.sort(np.asarray(starts, dtype=np.int64), axis=1)
    energy = _finite((yield current))
    seen, values = [current.copy()], [energy.copy()]
    for step in range(steps):
        temperature = hot * (cold / hot) ** (step / max(1, steps - 1))
        moved = _moves(space, current, rng, guide, temperature)
        value = _finite((yield moved))
        seen.append(moved)
        values.append(value)
        with np.errstate(invalid="ignore", over="ignore"):
            accepted = rng.random(len(current)) < np.exp(-np.clip(value - energy, 0.0, None) / temperature)
        current = np.where(accepted[:, None], moved, current)
        energy = np.where(accepted, value, energy)
    return np.concatenate(seen), np.concatenate(values)


def _moves(
    space: OrderingSpace,
    current: np.ndarray,
    rng: np.random.Generator,
    guide: Energies | None,
    temperature: float,
) -> np.ndarray:
    """A neighbour of every ordering (C, n): one guest on another site of its element; itself if there is none."""
    if guide is None:
        return _move(space, current, rng)
    several = np.stack([_move(space, current, rng) for _ in range(PROPOSALS)], axis=1)
    weights = -_finite(guide(several.reshape(-1, current.shape[1]))).reshape(len(current), PROPOSALS) / temperature
    # Gumbel's trick: the largest of log weight + noise is a draw by the weights.
    choice = (weights + rng.gumbel(size=weights.shape)).argmax(axis=1)
    return several[np.arange(len(current)), choice]


def _move(space: OrderingSpace, current: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chains, n = current.shape
    rows = np.arange(chains)
    leaving = rng.integers(n, size=(chains,))
    rest = current[np.arange(n)[None] != leaving[:, None]].reshape(chains, n - 1)
    moving = space.numbers[current[rows, leaving]].reshape(chains, 1)
    free = space.numbers[None] == moving
    free &= ~space.excluded[rest].any(axis=1)
    np.put_along_axis(free, current, False, axis=1)
    score = np.where(free, rng.random(free.shape), -1.0)
    target = score.argmax(axis=1)
    target = np.where(score[rows, target] >= 0, target, current[rows, leaving])
    return np.sort(np.concatenate([rest, target[:, None]], axis=1), axis=1)


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
