"""Placements of several guests that joint sampling alone does not find: first sites, then their occupation.

For each task: positions of single guests and of joint samples are pooled and clustered into the site network of each
element, at several levels of the host's symmetry; orderings of the guests on those sites are searched with CHGNet's
energy, unrelaxed; the best distinct ones are returned.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import content_bytes
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import is_gpu
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.deduplication import equal_samples
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Apply, Task
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS, load_chgnet_network
from inpaint_hpc.sites.clustering import networks_from_positions
from inpaint_hpc.sites.pooling import Pool, PoolingSettings, pool_many
from inpaint_hpc.sites.site_network import SiteNetwork

from .evaluation_budget import evaluation_budget
from .lockstep import Search, Steps, driven, in_lockstep
from .ordering_search import OrderingSearchResult, ordering_search
from .ordering_space import OrderingSpace, ordering_space

Progress = Callable[[str, int, int], None]
"""(stage, done, total) with stage 'sites' or 'search'."""

ORBITS, ORDERING = "orbits", "ordering"
# Shares of the evaluations for the symmetry levels, most symmetric first.
SHARES = {1: (1.0,), 2: (0.6, 0.4), 3: (0.5, 0.25, 0.25)}


@dataclass(frozen=True)
class SearchSettings:
    """Extent of the search.

    Attributes:
        evaluations: maximum number of CHGNet energies of orderings per task of up to four guests; more guests get more
            (`evaluation_budget`).
        keep: maximum number of placements returned per task.
        tolerance: placements whose guests are within this distance in A, under the host's symmetry, are equal.
        symprec: distance tolerance in A of that symmetry.
        chgnet: CHGNet weights.

    Raises:
        InputError: a value out of range.
    """

    evaluations: int = 48
    keep: int = 32
    tolerance: float = 0.5
    symprec: float = 0.1
    chgnet: str = DEFAULT_WEIGHTS

    def __post_init__(self) -> None:
        if self.evaluations < 1 or self.keep < 1:
            raise InputError("a search needs at least one evaluation, and one placement to return")


@dataclass
class OccupancySearchResult:
    """Result of the search for one task.

    Attributes:
        frac_coords: guests of each placement by atomic number, like `Task.guests`, float64 (M, n, 3).
        energies: CHGNet's, as placed, eV per cell, float64 (M,), lowest first.
        origins: 'orbits' for unions of whole orbits of the host, 'ordering' for others and where no symmetry relates
            sites, length M.
        sites: sites of each element, most symmetric level first: one mapping per level.
        networks: site networks of the elements at the most symmetric level that was searched.
        evaluations: CHGNet energies computed.
        complete: every ordering on the sites of the most symmetric level was evaluated.
        notes: what a user should know, one line each.
        seconds: wall time by stage.
    """

    frac_coords: np.ndarray
    energies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    origins: tuple[str, ...] = ()
    sites: tuple[dict[int, int], ...] = ()
    networks: tuple[SiteNetwork, ...] = ()
    evaluations: int = 0
    complete: bool = False
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frac_coords)


def search_occupancy(
    network: Any,
    tasks: Sequence[Task],
    joint: Sequence[np.ndarray],
    sampling: SamplingSettings,
    settings: SearchSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
    apply: Apply = map,
) -> list[OccupancySearchResult]:
    """Search placements of tasks.

    The result of a task does not depend on other tasks, beyond the rounding of the networks.  On a GPU all energies
    that they wait for are computed in one call of CHGNet, on a CPU those of each task alone, as in `rank_by_energy`.

    Args:
        network: the score network.
        tasks: hosts with guests.
        joint: possible joint samples of each task, (S, n, 3), S may be 0.
        sampling: of single guests, which are drawn here until they find no new site.
        settings: by default `SearchSettings()`.
        device: of the network and of CHGNet.
        progress: called with the stage, what is done and the total.
        apply: what does the work between the energies, for several tasks.

    Raises:
        InputError: an empty host, or as `sample`.
    """
    together = is_gpu(device)
    settings = settings or SearchSettings()
    start = time.perf_counter()
    positions = _single_guests(network, tasks, sampling, device, progress, apply)
    share = (time.perf_counter() - start) / max(1, len(tasks))
    evaluator = BatchEvaluator(load_chgnet_network(settings.chgnet, device), "e")
    budgets = [evaluation_budget(settings.evaluations, len(task.guests)) for task in tasks]
    done, waited = [0] * len(tasks), [0.0] * len(tasks)

    def energies(first: int, wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for group in [list(wanted)] if together else [[row] for row in wanted]:
            begun = time.perf_counter()
            found |= _energies(evaluator, {row: (tasks[first + row], wanted[row]) for row in group})
            asked = sum(len(wanted[row]) for row in group)
            for row in group:
                done[first + row] += len(wanted[row])
                waited[first + row] += (time.perf_counter() - begun) * len(wanted[row]) / asked
            if progress is not None:
                progress("search", sum(done), sum(budgets))
        return found

    searches = [
        Search(task.name, _search, (task, positions[row], joint[row], settings, sampling.seed))
        for row, task in enumerate(tasks)
    ]
    results = []
    # Here, one after another, or what they have in memory would be that of all of them.
    step = max(1, len(tasks)) if together or apply is not map else 1
    for first in range(0, len(tasks), step):
        results += in_lockstep(searches[first : first + step], partial(energies, first), apply)
    for row, (one, seconds) in enumerate(results):
        clustering = one.seconds["sites"]
        one.seconds = {"sites": share + clustering, "search": seconds - clustering + waited[row]}
    if progress is not None:
        progress("search", sum(budgets), sum(budgets))
    return [one for one, _ in results]


def _energies(evaluator: BatchEvaluator, wanted: dict[int, tuple[Task, np.ndarray]]) -> dict[int, np.ndarray]:
    """Energies in eV of placements (M, n, 3) of tasks."""
    crystals = [
        task.host.with_guests(np.array(task.guests), coords) for task, several in wanted.values() for coords in several
    ]
    energies = evaluator(crystals).to("cpu").energies.numpy()
    ends = np.cumsum([len(several) for _, several in wanted.values()])
    return dict(zip(wanted, np.split(energies, ends[:-1]), strict=True))


def _single_guests(network, tasks, sampling, device, progress, apply) -> list[dict[int, np.ndarray]]:
    """Positions (P, 3) of a single guest of each element of each task."""
    # A series of concentrations in one host draws single guests once.
    keys = [content_bytes(task.host.numbers, task.host.frac_coords, task.host.lattice) for task in tasks]
    host_of = {key: task.host for key, task in reversed(list(zip(keys, tasks, strict=True)))}
    wanted = list(
        dict.fromkeys((key, z) for key, task in zip(keys, tasks, strict=True) for z in sorted(set(task.guests)))
    )
    pools = pool_many(
        network,
        [Pool(host_of[key], z) for key, z in wanted],
        [1] * len(wanted),
        PoolingSettings(sampling=replace(sampling, strategy="conditional"), joint_samples=0),
        device,
        progress,
        apply,
    )
    drawn = {one: pool.frac_coords for one, pool in zip(wanted, pools, strict=True)}
    return [{z: drawn[key, z] for z in sorted(set(task.guests))} for key, task in zip(keys, tasks, strict=True)]


def site_levels(task: Task, single: dict[int, np.ndarray], joint: np.ndarray) -> list[list[SiteNetwork]]:
    """Site networks of the elements of a task: one list for each level of the host's symmetry, most symmetric first.

    Args:
        task: the task.
        single: element -> positions of single guests, (P, 3).
        joint: joint samples of all guests, (S, n, 3).
    """
    guests = np.array(task.guests)
    per_element = [
        networks_from_positions(
            task.host, z, np.concatenate([positions, np.asarray(joint)[:, guests == z].reshape(-1, 3)])
        )
        for z, positions in sorted(single.items())
    ]
    return [list(level) for level in zip(*per_element, strict=True)]


def search_levels(
    task: Task,
    levels: Sequence[Sequence[SiteNetwork]],
    evaluator: BatchEvaluator,
    settings: SearchSettings,
    seed: int = 0,
) -> OccupancySearchResult:
    """Search the orderings of a task on given site networks; see `search_occupancy`.

    At most three levels are searched: the most symmetric one, no symmetry at all, and one in between.
    """
    steps = _search_levels(task, levels, settings, seed)
    return driven(steps, lambda wanted: _energies(evaluator, {0: (task, wanted)})[0])


def _search(
    task: Task, single: dict[int, np.ndarray], joint: np.ndarray, settings: SearchSettings, seed: int
) -> Steps[OccupancySearchResult]:
    """The search of a task with all that needs no network."""
    begun = time.perf_counter()
    levels = site_levels(task, single, joint)
    clustered = time.perf_counter()
    found = yield from _search_levels(task, levels, settings, seed)
    found.seconds = {"sites": clustered - begun}
    return found


def _search_levels(
    task: Task, levels: Sequence[Sequence[SiteNetwork]], settings: SearchSettings, seed: int
) -> Steps[OccupancySearchResult]:
    """`search_levels` step by step: yields placements (M, n, 3), is sent their energies in eV."""
    counts = Counter(task.guests)
    spaces = [ordering_space(networks) for networks in levels]
    sites = tuple({z: len(space.sites_of(z)) for z in counts} for space in spaces)
    usable = [
        space for space, known in zip(spaces, sites, strict=True) if all(known[z] >= n for z, n in counts.items())
    ]
    if not usable:
        return OccupancySearchResult(np.zeros((0, len(task.guests), 3)), sites=sites, notes=(_too_few(counts, sites),))
    chosen = usable if len(usable) < 3 else [usable[0], usable[len(usable) // 2], usable[-1]]
    results: list[tuple[OrderingSpace, OrderingSearchResult]] = []
    spent, computed, total = 0, 0, evaluation_budget(settings.evaluations, len(task.guests))
    for space, share in zip(chosen, SHARES[len(chosen)], strict=True):
        last = space is chosen[-1]
        budget = total - spent if last else round(share * total)
        if budget < 1 and results:
            continue
        steps = ordering_search(space, counts, max(1, budget), seed)
        found, energies = yield from _of_placements(task, space, steps)
        spent += found.evaluations
        computed += energies
        results.append((space, found))
    one = _best_different(task, results, settings)
    one.sites, one.evaluations, one.complete = sites, computed, results[0][1].complete
    one.networks = next(tuple(n) for n, space in zip(levels, spaces, strict=True) if space is chosen[0])
    return one


def _of_placements(
    task: Task, space: OrderingSpace, steps: Steps[OrderingSearchResult]
) -> Steps[tuple[OrderingSearchResult, int]]:
    """A search that wants energies of orderings, as one that wants those of placements, and how many it asked for.

    Orderings with atoms too close are NaN and cost nothing.
    """
    host, guests = task.host, np.array(task.guests)
    computed = 0
    try:
        orderings = next(steps)
        while True:
            coords = np.array([space.guest_frac_coords(ordering) for ordering in orderings])
            possible = np.flatnonzero(~invalid_samples(host, guests, coords).invalid)
            energies = np.full(len(orderings), np.nan)
            if len(possible):
                energies[possible] = yield coords[possible]
                computed += len(possible)
            orderings = steps.send(energies)
    except StopIteration as end:
        return end.value, computed


def _best_different(
    task: Task, results: Sequence[tuple[OrderingSpace, OrderingSearchResult]], settings: SearchSettings
) -> OccupancySearchResult:
    """The lowest placements of all levels, alternating with the most symmetric ones; equal ones once, lowest first."""
    coords, energies, origins, symmetry = [], [], [], []
    for space, found in results:
        size = np.bincount(space.orbits)
        for ordering, energy, operations in zip(found.orderings, found.energies, found.symmetry, strict=True):
            if not np.isfinite(energy):
                continue
            coords.append(space.guest_frac_coords(ordering))
            energies.append(energy)
            symmetry.append(operations)
            taken = np.bincount(space.orbits[ordering], minlength=len(size))
            whole = ((taken == 0) | (taken == size)).all() and len(space.permutations) > 1
            origins.append(ORBITS if whole else ORDERING)
    if not coords:
        return OccupancySearchResult(np.zeros((0, len(task.guests), 3)))
    rounded = np.round(energies, 6)
    lowest = np.argsort(rounded, kind="stable")
    symmetric = np.lexsort((rounded, -np.array(symmetry)))
    # Unrelaxed energies mislead if the host has yet to make room: highly symmetric placements are kept, however high.
    order = np.array(list(dict.fromkeys(np.stack([lowest, symmetric], axis=1).reshape(-1).tolist())))
    # Comparing twice as many as are returned is enough, and the cost is quadratic.
    order = order[: 2 * settings.keep]
    frac = np.array(coords)[order]
    equal = equal_samples(task.host, task.guests, frac, settings.tolerance, settings.symprec)
    kept: list[int] = []
    for k in range(len(order)):
        same = next((known for known in kept if equal[k, known]), None)
        if same is not None and origins[order[k]] == ORBITS:
            origins[order[same]] = ORBITS  # found again at a level without symmetry, a little lower
        if len(kept) < settings.keep and same is None:
            kept.append(k)
    rows = sorted(order[kept].tolist(), key=lambda row: (rounded[row], row))
    return OccupancySearchResult(np.array(coords)[rows], np.array(energies)[rows], tuple(origins[row] for row in rows))


def _too_few(counts: Counter, sites: Sequence[dict[int, int]]) -> str:
    from ase.data import chemical_symbols

    most = {z: max((known[z] for known in sites), default=0) for z in counts}
    short = next((z for z, n in sorted(counts.items()) if most[z] < n), next(iter(counts)))
    return (
        f"{counts[short]} {chemical_symbols[short]} guests but only {most[short]} sites were found for them: "
        f"ask for fewer guests, or give a supercell"
    )
