"""Site networks of a task as a result file holds them, one row per orbit, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from .rows import Site

if TYPE_CHECKING:
    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.sites.site_network import SiteNetwork

_SAME = ("wyckoff", "occupancy", "spread", "energy", "shift", "settles_on", "frac_coords")


def sites_of_networks(networks: Iterable[SiteNetwork]) -> list[Site]:
    """Rows of networks, one per ion."""
    return [
        Site(
            ion=network.number,
            orbit=place,
            # float() because a numpy number is none that JSON knows.
            coordination=json.dumps({e: [int(n), float(mean)] for e, (n, mean) in orbit.coordination.items()}),
            symprec=network.symprec,
            positions=network.samples,
            saturated=network.saturated,
            **{name: getattr(orbit, name) for name in _SAME},
        )
        for network in networks
        for place, orbit in enumerate(network.orbits)
    ]


def networks_of_sites(sites: Iterable[Site], host: Crystal) -> list[SiteNetwork]:
    """The networks in their host, by ion; the symmetry operations are found again."""
    from inpaint_hpc.sites.site_network import Orbit, SiteNetwork
    from inpaint_hpc.sites.symmetry_levels import symmetry_levels

    found = []
    for ion, group in groupby(sites, key=lambda site: site.ion):
        rows = list(group)
        first, orbits = rows[0], []
        for site in rows:
            values = {name: getattr(site, name) for name in _SAME}
            values |= {name: float("nan") for name in ("energy", "shift") if values[name] is None}
            shell = {e: (int(n), float(d)) for e, (n, d) in json.loads(site.coordination).items()}
            orbits.append(Orbit(coordination=shell, **values))
        level = symmetry_levels(host, [first.symprec] if first.symprec > 0 else [])[0]
        operations = level.host_operations
        found.append(
            SiteNetwork(host, ion, tuple(orbits), first.symprec, *operations, first.positions, first.saturated)
        )
    return found
