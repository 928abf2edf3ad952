"""CHGNet energies of one guest on each site of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.scoring.relaxation import relax

from .clustering import assign_sites
from .site_network import SiteNetwork


def with_energies(
    network: SiteNetwork,
    limit: int | None = None,
    *,
    fmax: float = 0.05,
    max_steps: int = 200,
    device: Any = None,
    progress: Callable[[int], None] | None = None,
    **relaxation: Any,
) -> SiteNetwork:
    """The network with energies: one guest on a site of each orbit, relaxed in the frozen host.

    An orbit whose guest cannot be relaxed keeps NaN.  Where `settles_on` is another orbit, or none, the guest left it.

    Args:
        network: the sites.
        limit: only the most occupied so many orbits; all by default.
        fmax: convergence of the guest's force, eV/A.
        max_steps: most steps of a relaxation.
        device: torch device of CHGNet.
        progress: called with the number of sites finished since the last call.
        relaxation: further options of `scoring.relaxation.relax`.

    Raises:
        InputError: as `relax`.
    """
    orbits = network.orbits[:limit]
    crystals = [network.host.with_guests(network.number, orbit.frac_coords[0]) for orbit in orbits]
    relaxed = relax(crystals, 1, "guests", fmax, max_steps, device=device, progress=progress, **relaxation)
    cell = PeriodicCell(network.host.lattice)
    filled = []
    for orbit, result in zip(orbits, relaxed, strict=True):
        if result.diverged:
            filled.append(orbit)
            continue
        moved = cell.vectors(result.crystal.frac_coords[-1] - orbit.frac_coords[0])
        end = assign_sites(network, result.crystal.frac_coords[-1:])[0][0]
        filled.append(
            replace(
                orbit,
                energy=float(result.energy_per_atom * len(result.crystal)),
                shift=float(np.linalg.norm(moved)),
                settles_on=int(network.orbit_of[end]) if end >= 0 else -1,
            )
        )
    return replace(network, orbits=(*filled, *network.orbits[len(orbits) :]))
