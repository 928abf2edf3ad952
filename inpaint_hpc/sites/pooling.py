"""Pool guest positions of many samples of a host, until new samples find no new site.

Single guests show where one ion prefers to be; joint samples of several guests show where ions go when the best sites
are taken.  Rounds of both are drawn for all hosts together, in full batches; a host whose round found no new site is
finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.contact_distances import connected_guests
from inpaint_hpc.sampling.empty_space import has_void
from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Apply, Task

from .clustering import MERGE, STRAY, assign_sites, network_from_positions, networks_from_positions
from .site_network import SiteNetwork

Progress = Callable[[str, int, int], None]
"""(stage, done, total) with stage 'sites'; starts again with every round."""


@dataclass(frozen=True)
class PoolingSettings:
    """Settings of pooling.

    Attributes:
        single_samples: samples of a single guest per round.
        joint_samples: samples of several guests per round; several requested numbers of guests share these, with at
            least one each.
        min_rounds, max_rounds: minimum and maximum number of rounds per host.
        symprec: distance tolerance in A of the symmetry under which a site counts as seen before.
        merge: merging distance of sites in A.
        sampling: steps, sampler, strategy, seed ... of the samples; its `samples` are not used.

    Raises:
        InputError: a value out of range.
    """

    single_samples: int = 8
    joint_samples: int = 4
    min_rounds: int = 2
    max_rounds: int = 4
    symprec: float = 0.1
    merge: float = MERGE
    sampling: SamplingSettings = field(default_factory=SamplingSettings)

    def __post_init__(self) -> None:
        if self.single_samples < 1 or self.joint_samples < 0:
            raise InputError("pooling needs at least one single-guest sample in a round, and no negative numbers")
        if not 1 <= self.min_rounds <= self.max_rounds:
            raise InputError(f"rounds from {self.min_rounds} to {self.max_rounds} make no sense")
        if not (0.0 < self.symprec < 5.0 and 0.0 < self.merge < 3.0):
            raise InputError("symprec must be above 0 and below 5 A, the merging distance above 0 and below 3 A")


@dataclass
class Pool:
    """Pooled samples of one ion in one host.

    Attributes:
        host: the host.
        number: atomic number of the ion.
        samples: number of guests -> samples in the order of their indices, float64 (S, n, 3).
        new_sites: sites that each round was the first to find.
        saturated: the last round found no new site.
        nfe: network evaluations spent on all samples.
    """

    host: Crystal
    number: int
    samples: dict[int, np.ndarray] = field(default_factory=dict)
    new_sites: tuple[int, ...] = ()
    saturated: bool = False
    nfe: int = 0

    @property
    def rounds(self) -> int:
        """Number of rounds drawn."""
        return len(self.new_sites)

    @property
    def n_samples(self) -> int:
        """Samples drawn, whatever their number of guests."""
        return sum(len(coords) for coords in self.samples.values())

    @property
    def frac_coords(self) -> np.ndarray:
        """Positions of all guests that are connected with the host, float64 (P, 3).

        Where the host has empty space they must have a bond to the host itself: a second layer is no site of a surface.
        """
        kept = []
        for count, coords in self.samples.items():
            each = 1 if has_void(self.host) else count
            parts = coords.reshape(-1, each, 3)
            kept.append(parts[connected_guests(self.host, [self.number] * each, parts)])
        return np.concatenate(kept)

    def networks(self, **options: Any) -> list[SiteNetwork]:
        """Site networks of the pool, one for each symmetry; options as `networks_from_positions`."""
        return networks_from_positions(self.host, self.number, self.frac_coords, saturated=self.saturated, **options)

    def network(self, symprec: float = 0.1, merge: float = MERGE) -> SiteNetwork:
        """Site network of the pool under one symmetry; see `network_from_positions`."""
        return network_from_positions(
            self.host, self.number, self.frac_coords, symprec, merge=merge, saturated=self.saturated
        )


def pool_positions(
    network: Any,
    host: Crystal,
    number: int,
    n_guests: int | Sequence[int] = 1,
    settings: PoolingSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
) -> Pool:
    """Pool guest positions of one host; see `pool_many`."""
    return pool_many(network, [Pool(host, number)], [n_guests], settings, device, progress)[0]


def pool_many(
    network: Any,
    pools: Sequence[Pool],
    n_guests: Sequence[int | Sequence[int]],
    settings: PoolingSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
    apply: Apply = map,
) -> list[Pool]:
    """Pool guest positions of many hosts, sampled together.

    A pool depends on its host, ion, numbers of guests, settings and weights, not on other hosts.

    Args:
        network: a score network.
        pools: one for each host and ion, empty, or drawn with the same settings: its samples are then kept, and as many
            rounds are added as without them.
        n_guests: for each of them the number of guests in joint samples, one number or several; single guests are
            always drawn in addition.
        settings: by default `PoolingSettings()`.
        device: by default that of the network.
        progress: called after every step.
        apply: what looks for new sites after every round, in all of them.

    Returns:
        Pools in the same order; those given stay as they are.

    Raises:
        InputError: an empty host, or more guests than a cell can hold.
    """
    settings = settings or PoolingSettings()
    starts, pools = pools, []
    for start, wanted in zip(starts, n_guests, strict=True):
        if len(start.host) == 0:
            raise InputError(f"{start.host.name or 'host'}: a site network needs host atoms")
        counts = sorted({1, *start.samples, *(wanted if isinstance(wanted, Iterable) else [wanted])})
        samples = {int(count): start.samples.get(count, np.zeros((0, int(count), 3))) for count in counts}
        pools.append(replace(start, samples=samples))
    tasks = [
        {
            count: Task(pool.host, [pool.number] * count, f"{pool.host.name or 'host'} ({count})")
            for count in pool.samples
        }
        for pool in pools
    ]
    for done in range(settings.max_rounds):
        open_pools = [k for k, pool in enumerate(pools) if done < settings.min_rounds or not pool.saturated]
        if not open_pools:
            break
        before = [replace(pools[k], samples=dict(pools[k].samples)) for k in open_pools]
        _draw_round(network, pools, tasks, open_pools, settings, device, progress)
        rounds = [_Round(pools[k], earlier, settings) for k, earlier in zip(open_pools, before, strict=True)]
        for k, new in zip(open_pools, apply(_new_sites, rounds), strict=True):
            pools[k].new_sites += (new,)
            pools[k].saturated = new == 0
    return pools


def _draw_round(network, pools, tasks, open_pools, settings: PoolingSettings, device, progress) -> None:
    rows = [(k, count) for k in open_pools for count in pools[k].samples]
    wanted = [_wanted(count, len(pools[k].samples) - 1, settings) for k, count in rows]
    sets = sample(
        network,
        [tasks[k][count] for k, count in rows],
        settings.sampling,
        device,
        None if progress is None else lambda done, total: progress("sites", done, total),
        first_sample=[len(pools[k].samples[count]) for k, count in rows],
        samples=wanted,
    )
    for (k, count), found in zip(rows, sets, strict=True):
        pools[k].samples[count] = np.concatenate([pools[k].samples[count], found.frac_coords])
        pools[k].nfe += found.nfe * len(found)


def _wanted(count: int, joint_counts: int, settings: PoolingSettings) -> int:
    if count == 1:
        return settings.single_samples
    return -(-settings.joint_samples // joint_counts)


@dataclass(frozen=True, eq=False)
class _Round:
    pool: Pool
    before: Pool
    settings: PoolingSettings

    @property
    def name(self) -> str:
        return self.pool.host.name


def _new_sites(round_: _Round) -> int:
    """Orbits of the pool on which no position lay before the last round."""
    settings = round_.settings
    network = round_.pool.network(settings.symprec, settings.merge)
    sites = assign_sites(network, round_.before.frac_coords, STRAY * settings.merge)[0]
    seen = set(network.orbit_of[sites[sites >= 0]].tolist())
    return len(network.orbits) - len(seen)
