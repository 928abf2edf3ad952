"""From sampled guest positions to sites: peaks of their density under the host's symmetry.

For one group of operations: the density of positions is a sum of Gaussians over the distances between orbits (position
to nearest image of the other).  Mean shift moves the densest remaining position to its peak (Y. Cheng, IEEE Trans.
Pattern Anal. Mach. Intell. 17, 790 (1995)), with the images of the positions; the peak is moved onto the symmetry
elements near it, expanded to its orbit, and assigned the positions that the orbit covers; and so on until no position
is left.  Then peaks of one site are merged, positions are assigned to their nearest site, and sites are moved to the
mean of their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import onto_symmetry_elements, orbit_under, wyckoff_labels
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.contact_distances import contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell

from .coordination import LOOK, coordination
from .periodic_points import PeriodicPoints
from .site_network import Orbit, SiteNetwork
from .symmetry_levels import SYMPRECS, SymmetryLevel, symmetry_levels

# A.  0.4 to 0.9 were compared on electrodes: 0.5 covers most true sites, and most often by whole orbits.
MERGE = 0.5
# Positions further than this from every site, in units of the merging distance, belong to none.
STRAY = 1.5
_SHIFTS = 30  # of one peak
_CHUNK = 200_000  # images processed at once
_BLOCK = 4_000_000  # distances between orbits held at once


def networks_from_positions(
    host: Crystal,
    number: int,
    frac_coords: np.ndarray,
    *,
    symprecs: Sequence[float] = SYMPRECS,
    merge: float = MERGE,
    saturated: bool = False,
) -> list[SiteNetwork]:
    """Site networks of pooled guest positions, one for each symmetry that the host can be taken to have.

    Positions closer to a host atom than the contact distance are discarded first.  A position seen only once forms its
    own site if no other is near, and comes last in the network.

    Args:
        host: the host, without the guests to be placed.
        number: atomic number of the ion.
        frac_coords: pooled guest positions, (P, 3), wrapped or not.
        symprecs: distance tolerances in A of the host's symmetry.
        merge: positions closer than this to a site, in A, belong to it; images of a site closer than this are one site.
        saturated: value of the networks' attribute of that name.

    Returns:
        Networks with different groups, most symmetric first; the last has no symmetry.  Without positions they have no
        sites.

    Raises:
        InputError: an empty host, a coordinate that is not finite, or a merging distance that is not positive.
    """
    surroundings, positions = _possible(host, number, frac_coords, merge)
    levels = symmetry_levels(host, symprecs)
    return [_network(surroundings, level, positions, merge, saturated) for level in levels]


def network_from_positions(
    host: Crystal,
    number: int,
    frac_coords: np.ndarray,
    symprec: float = 0.1,
    *,
    merge: float = MERGE,
    saturated: bool = False,
) -> SiteNetwork:
    """The first of `networks_from_positions`: the largest group that the host has within `symprec` A.

    spglib's operations are displaced by up to their tolerance; smaller ones that give the same group are preferred.
    """
    surroundings, positions = _possible(host, number, frac_coords, merge)
    level = symmetry_levels(host, [*(s for s in SYMPRECS if s < symprec), symprec])[0]
    return _network(surroundings, level, positions, merge, saturated)


def _possible(host: Crystal, number: int, frac_coords: np.ndarray, merge: float) -> tuple[_Surroundings, np.ndarray]:
    """The atoms around guests in the host, and the positions that are not on a host atom."""
    frac_coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, 3)
    if len(host) == 0:
        raise InputError("a site network needs host atoms")
    if not np.isfinite(frac_coords).all():
        raise InputError(f"{host.name or 'host'}: a guest position is not a finite number")
    if not 0.0 < merge < 3.0:
        raise InputError(f"the merging distance must be above 0 and below 3 A, not {merge:g}")
    surroundings = _Surroundings(host, number)
    return surroundings, frac_coords[surroundings.contact(frac_coords) >= 1.0]


def assign_sites(
    network: SiteNetwork, frac_coords: np.ndarray, reach: float = STRAY * MERGE
) -> tuple[np.ndarray, np.ndarray]:
    """The site that each of positions (n, 3) is on.

    Returns:
        Index into `network.frac_coords`, -1 where no site is within `reach` A, int64 (n,); distance in A, infinite
        where none is, (n,).
    """
    if not len(network):
        return np.full(len(frac_coords), -1), np.full(len(frac_coords), np.inf)
    return PeriodicPoints(PeriodicCell(network.host.lattice), network.frac_coords, reach).nearest(frac_coords)[:2]


class _Surroundings:
    """The atoms around guests of one element in one host."""

    def __init__(self, host: Crystal, number: int) -> None:
        self.host, self.number = host, int(number)
        cell = PeriodicCell(host.lattice)
        self.atoms = PeriodicPoints(cell, host.frac_coords, LOOK)
        self._limits = contact_radii([number])[0] + contact_radii(host.numbers)
        self._touching = PeriodicPoints(cell, host.frac_coords, float(self._limits.max()))

    def contact(self, frac_coords: np.ndarray) -> np.ndarray:
        """Smallest distance to a host atom over the smallest possible one, (n,); below 1 is impossible."""
        rows, atoms, vectors = self._touching.pairs(frac_coords)
        contact = np.full(len(frac_coords), np.inf)
        np.minimum.at(contact, rows, np.linalg.norm(vectors, axis=1) / self._limits[atoms])
        return contact


@dataclass
class _Site:
    """A site under construction, in the primitive cell; the rows of its positions and their distances in A."""

    position: np.ndarray
    orbit: np.ndarray
    members: np.ndarray
    distances: np.ndarray


def _network(
    surroundings: _Surroundings, level: SymmetryLevel, positions: np.ndarray, merge: float, saturated: bool
) -> SiteNetwork:
    sites = _Clustering(surroundings, level, positions, merge).sites()
    host = surroundings.host
    orbits_in_host = [level.to_host(site.orbit) for site in sites]
    firsts = np.array([orbit[0] for orbit in orbits_in_host]).reshape(-1, 3)
    shells = coordination(host, surroundings.atoms, firsts, surroundings.number)
    if level.symprec == 0.0 or level.subgroup:
        labels = [str(len(orbit)) for orbit in orbits_in_host]
    else:
        labels = [str(label) for label in wyckoff_labels(host, firsts, level.symprec)]
    orbits = [
        Orbit(
            frac_coords=orbit,
            wyckoff=label,
            occupancy=len(site.members) / len(positions),
            spread=float(np.sqrt((site.distances**2).mean())),
            coordination=shell,
        )
        for site, orbit, label, shell in zip(sites, orbits_in_host, labels, shells, strict=True)
    ]
    return SiteNetwork(
        host,
        surroundings.number,
        tuple(orbits),
        level.symprec,
        *level.host_operations,
        len(positions),
        saturated,
    )


class _Clustering:
    """Clusters positions under one group, in its primitive cell."""

    def __init__(self, surroundings: _Surroundings, level: SymmetryLevel, positions: np.ndarray, merge: float) -> None:
        self.surroundings, self.level, self.merge = surroundings, level, merge
        self.positions = level.to_primitive(positions)
        self.cell, self.lattice = PeriodicCell(level.lattice), level.lattice
        self.inverse = np.linalg.inv(self.lattice)
        self.width = merge / 2.0
        self.points = PeriodicPoints(self.cell, self.positions, merge)

    def sites(self) -> list[_Site]:
        if not len(self.positions):
            return []
        peaks = self._peaks()
        for _ in range(2):
            peaks = self._without_doubles(peaks)
            sites = self._assigned(peaks)
            peaks = [self._centre(site.position, site.members) for site in sites]
        sites = self._assigned(self._without_doubles(peaks))
        contact = self._contact(np.array([site.position for site in sites]))
        spread = [float((site.distances**2).mean()) for site in sites]
        order = sorted(range(len(sites)), key=lambda s: (-len(sites[s].members), spread[s], -contact[s]))
        return [sites[s] for s in order]

    def _kernel(self):
        """Gaussians of the distances between orbits of positions, sparse (P, P)."""
        from scipy.sparse import csr_matrix, vstack

        n, order = len(self.positions), len(self.level.rotations)
        blocks = []
        for rows in np.array_split(np.arange(n), max(1, -(-n * order // _CHUNK), -(-n * n // _BLOCK))):
            images = self.level.images(self.positions[rows]).reshape(-1, 3)
            query, point, distances = self.points.distances(images)
            nearest = np.full(len(rows) * n, np.inf)
            np.minimum.at(nearest, query // order * n + point, distances)
            blocks.append(csr_matrix(np.exp(nearest.reshape(-1, n) ** 2 / (-2.0 * self.width**2))))
        return vstack(blocks).tocsr()

    def _peaks(self) -> list[np.ndarray]:
        """Positions of peaks, densest first."""
        kernel = self._kernel()
        free = np.ones(len(self.positions), dtype=bool)
        peaks = []
        while free.any():
            density = np.where(free, kernel @ free, -1.0)
            # Differences in density due to rounding must not decide.
            start = int(np.flatnonzero(density >= density.max() * (1.0 - 1e-9))[0])
            peak = self._centre(self.positions[start], np.flatnonzero(free))
            covered = self._pulled_back(peak, np.flatnonzero(free))[0]
            free[covered] = False
            free[start] = False
            peaks.append(peak)
        return peaks

    def _pulled_back(self, position: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Members within the merging distance of an image of a position, and their vectors from it.

        Returns:
            Rows of positions, int64 (m,), and vectors in A from the position, turned back from the image, (m, 3).
        """
        query, point, vectors = self.points.pairs(self.level.images(position[None])[0])
        allowed = np.zeros(len(self.positions), dtype=bool)
        allowed[members] = True
        keep = allowed[point]
        query, point, vectors = query[keep], point[keep], vectors[keep]
        order = np.lexsort((query, np.round((vectors**2).sum(axis=1), 9), point))
        point, first = np.unique(point[order], return_index=True)
        chosen = order[first]
        frac = vectors[chosen] @ self.inverse
        back = np.einsum("nij,nj->ni", self.level.inverse_rotations[query[chosen]], frac)
        return point, back @ self.lattice

    def _centre(self, position: np.ndarray, members: np.ndarray) -> np.ndarray:
        """The density peak uphill from a position, moved onto the symmetry elements near it."""
        for _ in range(_SHIFTS):
            found, vectors = self._pulled_back(position, members)
            if not len(found):
                break
            weights = np.exp((vectors**2).sum(axis=1) / (-2.0 * self.width**2))
            step = weights @ vectors / weights.sum()
            position = position + step @ self.inverse
            if np.linalg.norm(step) < 1e-4:
                break
        onto = onto_symmetry_elements(self.lattice, self.level.operations, position, self.merge)
        # An element through a host atom can be near a site that is not on it.
        return onto if self._contact(onto[None])[0] >= 1.0 else position

    def _contact(self, positions: np.ndarray) -> np.ndarray:
        return self.surroundings.contact(positions @ np.linalg.inv(self.level.multiples))

    def _without_doubles(self, peaks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Peaks that are not within the merging distance of an earlier one."""
        kept: list[np.ndarray] = []
        taken = np.zeros((0, 3))
        for peak in peaks:
            if len(taken) and self.cell.within(peak[None], taken, self.merge).any():
                continue
            kept.append(peak)
            taken = np.concatenate([taken, orbit_under(self.lattice, self.level.operations, peak)])
        return kept

    def _assigned(self, peaks: Sequence[np.ndarray]) -> list[_Site]:
        """Sites with their nearest positions; sites without any are left out."""
        orbits = [orbit_under(self.lattice, self.level.operations, peak) for peak in peaks]
        owner = np.repeat(np.arange(len(orbits)), [len(orbit) for orbit in orbits])
        tree = PeriodicPoints(self.cell, np.concatenate(orbits), STRAY * self.merge)
        index, distances, _ = tree.nearest(self.positions)
        site_of = np.where(index >= 0, owner[index], -1)
        sites = []
        for s, (peak, orbit) in enumerate(zip(peaks, orbits, strict=True)):
            members = np.flatnonzero(site_of == s)
            if len(members):
                sites.append(_Site(peak, orbit, members, distances[members]))
        return sites
