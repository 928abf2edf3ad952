"""Site networks of a task as a result file holds them: one row per orbit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.sites.site_network import SiteNetwork

_KINDS = {
    "ion": np.uint8,
    "orbit": np.int64,
    "occupancy": np.float64,
    "spread": np.float64,
    "energy": np.float64,
    "shift": np.float64,
    "settles_on": np.int64,
    "symprec": np.float64,
    "positions": np.int64,
    "saturated": np.uint8,
    "multiplicity": np.int64,
}


@dataclass(frozen=True, eq=False)
class Sites:
    """Orbits of the site networks of one task, K in all; network after network, the most occupied orbit of each first.

    Attributes:
        ion: atomic number, uint8 (K,); the orbits of one ion are one network.
        orbit: place in the network, int64 (K,).
        wyckoff: Wyckoff position such as '8a', K strings.
        coordination: JSON objects, element -> [neighbours, mean distance in A], nearest first, K strings.
        occupancy: share of the positions, float64 (K,).
        spread: root mean square distance in A of these from the site, float64 (K,).
        energy: of the cell with one guest there, relaxed in the frozen host, eV, NaN if not computed, float64 (K,).
        shift: how far the guest moved in that, A, NaN if not computed, float64 (K,).
        settles_on: orbit that the guest was on afterwards, -1 unknown or none, int64 (K,).
        symprec: tolerance in A of the network's symmetry, 0 for none, float64 (K,).
        positions: guest positions that the network was built from, int64 (K,).
        saturated: 1 if the last samples found no new site, uint8 (K,).
        multiplicity: sites in the host's cell, int64 (K,).
        frac_coords: all sites, orbit after orbit, in [0, 1), float64 (sum of `multiplicity`, 3).

    Raises:
        ValueError: shapes that do not fit together.
    """

    ion: np.ndarray
    orbit: np.ndarray
    wyckoff: tuple[str, ...]
    coordination: tuple[str, ...]
    occupancy: np.ndarray
    spread: np.ndarray
    energy: np.ndarray
    shift: np.ndarray
    settles_on: np.ndarray
    symprec: np.ndarray
    positions: np.ndarray
    saturated: np.ndarray
    multiplicity: np.ndarray
    frac_coords: np.ndarray

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=kind).reshape(-1))
        for name in ("wyckoff", "coordination"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        frac = np.asarray(self.frac_coords, dtype=np.float64).reshape(-1, 3)
        object.__setattr__(self, "frac_coords", frac)
        lengths = {len(getattr(self, f.name)) for f in fields(self) if f.name != "frac_coords"}
        if lengths != {len(self)} or len(frac) != self.multiplicity.sum():
            raise ValueError("columns of sites are of different lengths")

    def __len__(self) -> int:
        return len(self.ion)

    @classmethod
    def none(cls) -> Sites:
        """No site network."""
        return cls(**{f.name: () for f in fields(cls)})

    @classmethod
    def from_networks(cls, networks: Iterable[SiteNetwork]) -> Sites:
        """Rows of networks, one per ion."""
        rows: dict[str, list[Any]] = {f.name: [] for f in fields(cls)}
        for network in networks:
            for place, orbit in enumerate(network.orbits):
                # float() because a numpy number is none that JSON knows.
                shell = {element: [int(n), float(mean)] for element, (n, mean) in orbit.coordination.items()}
                values = {
                    "ion": network.number,
                    "orbit": place,
                    "coordination": json.dumps(shell),
                    "symprec": network.symprec,
                    "positions": network.samples,
                    "saturated": network.saturated,
                    "multiplicity": orbit.multiplicity,
                }
                values |= {
                    name: getattr(orbit, name)
                    for name in ("wyckoff", "occupancy", "spread", "energy", "shift", "settles_on")
                }
                for name, value in values.items():
                    rows[name].append(value)
                rows["frac_coords"] += orbit.frac_coords.tolist()
        return cls(**rows)

    def networks(self, host: Crystal) -> list[SiteNetwork]:
        """The networks in their host, by ion; the symmetry operations are found again."""
        from inpaint_hpc.sites.site_network import Orbit, SiteNetwork
        from inpaint_hpc.sites.symmetry_levels import symmetry_levels

        ends = np.cumsum(self.multiplicity)
        found = []
        for ion in dict.fromkeys(self.ion.tolist()):
            rows = np.flatnonzero(self.ion == ion)
            orbits = tuple(
                Orbit(
                    frac_coords=self.frac_coords[ends[k] - self.multiplicity[k] : ends[k]],
                    wyckoff=self.wyckoff[k],
                    occupancy=float(self.occupancy[k]),
                    spread=float(self.spread[k]),
                    coordination={e: (int(n), float(d)) for e, (n, d) in json.loads(self.coordination[k]).items()},
                    energy=float(self.energy[k]),
                    shift=float(self.shift[k]),
                    settles_on=int(self.settles_on[k]),
                )
                for k in rows
            )
            first = rows[0]
            symprec = float(self.symprec[first])
            level = symmetry_levels(host, [symprec] if symprec > 0 else [])[0]
            found.append(
                SiteNetwork(
                    host,
                    ion,
                    orbits,
                    symprec,
                    *level.host_operations,
                    int(self.positions[first]),
                    bool(self.saturated[first]),
                )
            )
        return found
