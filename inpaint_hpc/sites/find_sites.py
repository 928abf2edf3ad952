"""Host and ion in, site network out.

Example:
    network = load_network()
    sites = find_sites(network, host, "Li")
    print(sites.table())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.contact_distances import PACKING, contact_radii, packing_fraction
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sampling.tasks import guest_numbers

from .pooling import Pool, PoolingSettings, Progress, pool_many
from .site_energies import with_energies_many
from .site_network import SiteNetwork


def find_sites(
    network: Any,
    host: Crystal,
    guest: str | int,
    n_guests: int | Sequence[int] | None = None,
    *,
    energies: int | None = 12,
    settings: PoolingSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
) -> SiteNetwork:
    """The sites for an ion in a host; see `find_sites_many`."""
    options = {"energies": energies, "settings": settings, "device": device, "progress": progress}
    return find_sites_many(network, [host], guest, n_guests, **options)[0]


def find_sites_many(
    network: Any,
    hosts: Sequence[Crystal],
    guest: str | int,
    n_guests: int | Sequence[int] | None = None,
    *,
    energies: int | None = 12,
    settings: PoolingSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
) -> list[SiteNetwork]:
    """The sites for an ion in several hosts, sampled together.

    Args:
        network: a score network, see `load_network`.
        hosts: the hosts; atoms of the ion that they already contain are kept.
        guest: the ion, 'Li' or 3.
        n_guests: number of guests in joint samples, one number or several.  By default as many as fill the most
            occupied orbit of single guests that can be full, and twice as many: ions that find the best sites taken go
            to the next best.
        energies: number of orbits, most occupied first, for which CHGNet energies are computed; None for all.
        settings: of the pooling; its `symprec` is that of the networks too.
        device: torch device of sampling and CHGNet; by default that of the network.
        progress: called with (stage, done, total), stage 'sites' or 'energies'.

    Raises:
        InputError: unknown element, an empty host, or more guests than a cell can hold.
    """
    (number,) = guest_numbers([guest])
    settings = settings or PoolingSettings()
    empty = [Pool(host, number) for host in hosts]
    arguments = (settings, device, progress)
    if n_guests is not None:
        pools = pool_many(network, empty, [n_guests] * len(hosts), *arguments)
    else:
        alone = pool_many(network, empty, [1] * len(hosts), *arguments)
        counts = [_joint_counts(pool, settings) for pool in alone]
        crowded = [k for k, count in enumerate(counts) if count]
        more = pool_many(network, [alone[k] for k in crowded], [counts[k] for k in crowded], *arguments)
        pools = list(alone)
        for k, pool in zip(crowded, more, strict=True):
            pools[k] = pool
    networks = [pool.network(settings.symprec, settings.merge) for pool in pools]
    return _with_energies(networks, energies, device, progress)


def room_for(host: Crystal, number: int) -> int:
    """How many guests of an element a cell can hold at most, by the rule of
    `sampling.contact_distances.require_room`."""
    radius = float(contact_radii(np.array([number]))[0])
    if PeriodicCell(host.lattice).shortest < 2.0 * radius:
        return 0
    each = packing_fraction(np.array([number]), host.volume)
    return max(0, int((PACKING - packing_fraction(host.numbers, host.volume)) / each + 1e-9))


def _joint_counts(pool: Pool, settings: PoolingSettings) -> list[int]:
    """Numbers of guests that fill the best orbit once and twice, as far as the cell has room.

    The best is the most occupied one whose sites are so far apart that guests can be on all of them.
    """
    network = pool.network(settings.symprec, settings.merge)
    contact = 2.0 * float(contact_radii(np.array([pool.number]))[0])
    possible = [k for k in range(len(network.orbits)) if network.orbit_distances[k, k] >= contact]
    if not possible:
        return []
    multiplicity, most = network.orbits[possible[0]].multiplicity, room_for(pool.host, pool.number)
    return sorted({min(most, count) for count in (multiplicity, 2 * multiplicity)} - {0, 1})


def _with_energies(networks: list[SiteNetwork], limit: int | None, device: Any, progress: Progress | None):
    if limit is not None and limit < 0:
        raise InputError(f"energies of {limit} orbits make no sense")
    total = sum(len(network.orbits[:limit]) for network in networks)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress("energies", done, total)

    return with_energies_many(networks, limit, device=device, progress=report) if total else networks
