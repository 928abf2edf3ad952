"""CHGNet energies of one guest on each site of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.scoring.relaxation.relax import Relaxation, RelaxSettings, relax

from .clustering import assign_sites
from .site_network import Orbit, SiteNetwork


def with_energies(network: SiteNetwork, limit: int | None = None, **options: Any) -> SiteNetwork:
    """One network with energies; see `with_energies_many`."""
    return with_energies_many([network], limit, **options)[0]


def with_energies_many(
    networks: Sequence[SiteNetwork],
    limit: int | None = None,
    *,
    fmax: float = 0.05,
    max_steps: int = 200,
    device: Any = None,
    progress: Callable[[int], None] | None = None,
) -> list[SiteNetwork]:
    """Networks with energies: one guest on a site of each orbit, relaxed in the frozen host, all of them in batches.

    An orbit whose guest cannot be relaxed keeps NaN.  If `settles_on` is another orbit or none, the guest left.

    Args:
        networks: the sites, of any hosts.
        limit: number of orbits of each, most occupied first; all by default.
        fmax: convergence of the guest's force, eV/A.
        max_steps: maximum number of relaxation steps.
        device: torch device of CHGNet.
        progress: called with the number of sites finished since the last call.

    Raises:
        InputError: as `relax`.
    """
    chosen = [network.orbits[:limit] for network in networks]
    crystals = [
        network.host.with_guests(network.number, orbit.frac_coords[0])
        for network, orbits in zip(networks, chosen, strict=True)
        for orbit in orbits
    ]
    relaxed = iter(relax(crystals, 1, RelaxSettings("guests", fmax, max_steps), device=device, progress=progress))
    return [
        replace(
            network,
            orbits=(*(_filled(network, orbit, next(relaxed)) for orbit in orbits), *network.orbits[len(orbits) :]),
        )
        for network, orbits in zip(networks, chosen, strict=True)
    ]


def _filled(network: SiteNetwork, orbit: Orbit, result: Relaxation) -> Orbit:
    if result.diverged:
        return orbit
    end = result.crystal.frac_coords[-1]
    moved = PeriodicCell(network.host.lattice).vectors(end - orbit.frac_coords[0])
    site = assign_sites(network, end[None])[0][0]
    return replace(
        orbit,
        energy=float(result.energy_per_atom * len(result.crystal)),
        shift=float(np.linalg.norm(moved)),
        settles_on=int(network.orbit_of[site]) if site >= 0 else -1,
    )
