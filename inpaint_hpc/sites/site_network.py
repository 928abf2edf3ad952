"""The sites for one kind of ion in a host, and the distances between them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.minimum_image import PeriodicCell

if TYPE_CHECKING:
    import pandas as pd

# Columns of `SiteNetwork.table`.
COLUMNS = (
    "site",
    "wyckoff",
    "multiplicity",
    "occupancy",
    "spread_A",
    "coordination",
    "bond_A",
    "energy_eV",
    "above_best_meV",
    "shift_A",
    "settles_on",
    "nearest_A",
    "nearest_site",
    "x",
    "y",
    "z",
)


@dataclass(frozen=True)
class Orbit:
    """A site and its images under the symmetry that the network was built with.

    Attributes:
        frac_coords: all sites of the orbit in the host's cell, float64 (m, 3) in [0, 1).
        wyckoff: multiplicity in the conventional cell and Wyckoff letter, '8a'; without a letter where none is known.
        occupancy: share of the pooled guest positions that lie on the orbit, 0 to 1.
        spread: root mean square distance in A of those positions from their site.
        coordination: host atoms around a site: element symbol -> (neighbours, mean distance in A).
        energy: of the host with one guest on the site after relaxation of that guest, eV per cell; NaN if not computed.
        shift: how far the guest moved in that relaxation, A; NaN if not computed.
        settles_on: index of the orbit that the guest was on after relaxation; -1 if not computed or on none.  A site
            whose guest relaxes onto another is not a minimum of the potential.
    """

    frac_coords: np.ndarray
    wyckoff: str
    occupancy: float
    spread: float
    coordination: dict[str, tuple[int, float]]
    energy: float = float("nan")
    shift: float = float("nan")
    settles_on: int = -1

    @property
    def multiplicity(self) -> int:
        """Sites in the host's own cell."""
        return len(self.frac_coords)

    @property
    def shell(self) -> str:
        """Neighbours in one word, `O4`; '' without any."""
        return " ".join(f"{element}{count}" for element, (count, _) in self.coordination.items())

    @property
    def bond_length(self) -> float:
        """Mean distance in A to the nearest kind of neighbour; NaN without any."""
        return next((mean for _, mean in self.coordination.values()), float("nan"))


@dataclass(frozen=True)
class SiteNetwork:
    """Sites of one ion in one host.

    Attributes:
        host: the host, without the guests to be placed.
        number: atomic number of the ion.
        orbits: most occupied first.
        symprec: distance tolerance in A of the symmetry in use; 0 for no symmetry at all.
        rotations, translations: its operations in fractional coordinates, int64 (O, 3, 3) and float64 (O, 3).
        samples: number of guest positions that the network was built from.
        saturated: sampling stopped because new samples found no new site.
    """

    host: Crystal
    number: int
    orbits: tuple[Orbit, ...]
    symprec: float
    rotations: np.ndarray
    translations: np.ndarray
    samples: int
    saturated: bool

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: distances and permutations of many sites are large, and computed again where needed."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __len__(self) -> int:
        return len(self.orbit_of)

    @cached_property
    def frac_coords(self) -> np.ndarray:
        """All sites, orbit after orbit, float64 (S, 3)."""
        parts = [orbit.frac_coords for orbit in self.orbits]
        return np.concatenate(parts) if parts else np.zeros((0, 3))

    @cached_property
    def orbit_of(self) -> np.ndarray:
        """Index of the orbit of each site, int64 (S,)."""
        return np.repeat(np.arange(len(self.orbits)), [orbit.multiplicity for orbit in self.orbits])

    @cached_property
    def distances(self) -> np.ndarray:
        """Shortest distance between sites in A, float64 (S, S); 0 on the diagonal."""
        return PeriodicCell(self.host.lattice).distances(self.frac_coords, self.frac_coords)

    @cached_property
    def orbit_distances(self) -> np.ndarray:
        """Shortest distance in A from a site of one orbit to another site of the other, images of itself included.

        float64 (n_orbits, n_orbits), symmetric: guests closer than this cannot be avoided if both orbits are full.
        """
        shortest = self.distances.copy()
        np.fill_diagonal(shortest, PeriodicCell(self.host.lattice).shortest)
        result = np.full((len(self.orbits), len(self.orbits)), np.inf)
        np.minimum.at(result, (self.orbit_of[:, None], self.orbit_of[None, :]), shortest)
        return result

    def table(self) -> pd.DataFrame:
        """One row per orbit, most occupied first; the columns are `COLUMNS`.

        `energy_eV` is that of the cell, `above_best_meV` its distance to the best orbit's, `nearest_A` and
        `nearest_site` the shortest distance to another site and the orbit of that.
        """
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=list(COLUMNS))

    def rows(self) -> list[dict]:
        """The rows of `table` as plain data; what is not known is NaN."""
        energies = np.array([orbit.energy for orbit in self.orbits])
        best = np.nanmin(energies) if np.isfinite(energies).any() else np.nan
        rows = []
        for k, orbit in enumerate(self.orbits):
            nearest = int(self.orbit_distances[k].argmin())
            x, y, z = orbit.frac_coords[0].tolist()
            values: tuple[Any, ...] = (k, orbit.wyckoff, orbit.multiplicity, orbit.occupancy, orbit.spread, orbit.shell)
            values += (orbit.bond_length, orbit.energy, float(1000.0 * (orbit.energy - best)), orbit.shift)
            values += (orbit.settles_on, float(self.orbit_distances[k, nearest]), nearest, x, y, z)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        return rows

    @cached_property
    def permutations(self) -> np.ndarray:
        """Permutation of the sites by each symmetry operation: site s goes to `permutations[o, s]`, int64 (O, S)."""
        cell = PeriodicCell(self.host.lattice)
        if not len(self):
            return np.zeros((len(self.rotations), 0), dtype=np.int64)
        images = np.einsum("oij,sj->osi", self.rotations, self.frac_coords) + self.translations[:, None]
        return np.array([cell.distances(image, self.frac_coords).argmin(axis=1) for image in images])
