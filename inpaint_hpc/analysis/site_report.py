"""Site networks as one JSON document (docs/json.md) and as files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc._version import __version__
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.crystals.writing import write_structure
from inpaint_hpc.files import atomic_path
from inpaint_hpc.pipeline.result_files import SCHEMA, folder_names
from inpaint_hpc.sites.site_network import SiteNetwork

from .charge_limits import charge_limits
from .series import fitting

# How many guests fit is counted for up to this many sites, which takes seconds.
FITTED_SITES = 64


def site_document(
    networks: Sequence[SiteNetwork],
    settings: dict[str, Any],
    weights: dict[str, str],
    seconds: float,
    files: Sequence[Path] = (),
) -> dict[str, Any]:
    """All site networks of one call as plain data.

    Args:
        networks: one per host.
        settings: settings that determined the result.
        weights: name and sha256.
        seconds: wall time of the whole call.
        files: result of `write_sites`; empty if nothing was written.
    """
    hosts = [_host(network) for network in networks]
    for entry, name in zip(hosts, map(str, files) if files else [None] * len(hosts), strict=True):
        entry["file"] = name
    return {
        "schema": SCHEMA,
        "command": "sites",
        "version": __version__,
        "weights": weights,
        "settings": settings,
        "seconds": seconds,
        "hosts": hosts,
    }


def write_sites(networks: Sequence[SiteNetwork], folder: str | Path) -> list[Path]:
    """Write FOLDER/<host>/sites.cif, the host with a guest on every site, and sites.csv, the table.

    Sites in the CIF may be too close to each other to be occupied at once: it is meant for viewing only.

    Returns:
        The path of each CIF.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    for name, network in zip(folder_names([network.host for network in networks]), networks, strict=True):
        place = Path(folder) / name
        full = network.host.with_guests(np.full(len(network), network.number), network.frac_coords)
        paths.append(write_structure(full, place / "sites.cif", "cif"))
        with atomic_path(place / "sites.csv") as temporary:
            network.table().to_csv(temporary, index=False, float_format="%.6g")
    return paths


def _host(network: SiteNetwork) -> dict[str, Any]:
    from ase.data import chemical_symbols

    sites = []
    for row, orbit in zip(network.rows(), network.orbits, strict=True):
        entry = {key: _known(value) for key, value in row.items() if key not in ("x", "y", "z", "coordination")}
        entry["coordination"] = {
            element: {"count": count, "mean_distance_A": mean} for element, (count, mean) in orbit.coordination.items()
        }
        entry["frac_coords"] = orbit.frac_coords.tolist()
        sites.append(entry)
    return {
        "host": network.host.name,
        "host_atoms": len(network.host),
        "guest": chemical_symbols[network.number],
        "lattice_A": network.host.lattice.tolist(),
        "spacegroup": spacegroup_symbol(network.host, network.symprec) if network.symprec > 0 else "P1",
        "symprec": network.symprec,
        "operations": len(network.rotations),
        "positions": network.samples,
        "saturated": network.saturated,
        "sites": sites,
        "orbit_distances_A": network.orbit_distances.tolist(),
        "most_by_distance": fitting(network, FITTED_SITES),
        "most_by_charge": charge_limits(network.host, network.number).as_dict(),
    }


def _known(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
