"""The sites of all guests of a task together: which exclude each other, and how symmetry maps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.contact_distances import contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.site_network import SiteNetwork

# Sites are means of samples, a few tenths of an angstrom off, so guests on them may come closer by this factor.
SOFTNESS = 0.9


@dataclass(frozen=True, eq=False)
class OrderingSpace:
    """Sites that ions of one or several elements can take in one host.

    An ordering is a set of sites, none of which exclude each other.  A position that two elements can take is two
    sites here, one for each element, which exclude each other by their distance.

    Attributes:
        host: the host.
        numbers: atomic number of the ion that takes a site, int64 (S,).
        frac_coords: fractional coordinates in the host's cell, float64 (S, 3).
        orbits: orbit of each site, counted over all elements, int64 (S,).
        occupancy: share of the pooled samples of its element on the site's orbit, float64 (S,).
        permutations: permutation of the sites by each symmetry operation, without repeats, int64 (O, S).
        excluded: pairs of sites that cannot both be taken, bool (S, S), false on the diagonal.
        symprec: distance tolerance in A of the symmetry; 0 for none.
    """

    host: Crystal
    numbers: np.ndarray
    frac_coords: np.ndarray
    orbits: np.ndarray
    occupancy: np.ndarray
    permutations: np.ndarray
    excluded: np.ndarray
    symprec: float

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def distances(self) -> np.ndarray:
        """Shortest distance between sites in A, float64 (S, S); 0 on the diagonal."""
        return PeriodicCell(self.host.lattice).distances(self.frac_coords, self.frac_coords)

    def sites_of(self, number: int) -> np.ndarray:
        """Sites that an element can take, int64."""
        return np.flatnonzero(self.numbers == number)

    def guest_frac_coords(self, ordering: np.ndarray) -> np.ndarray:
        """Fractional coordinates of the guests of an ordering (n,), by atomic number like `Task.guests`: (n, 3)."""
        ordering = np.sort(np.asarray(ordering, dtype=np.int64))
        return self.frac_coords[ordering[np.argsort(self.numbers[ordering], kind="stable")]]

    def allows(self, ordering: np.ndarray) -> bool:
        """Whether no two sites of an ordering exclude each other."""
        return not self.excluded[np.ix_(ordering, ordering)].any()


def ordering_space(networks: Sequence[SiteNetwork], exclusion: Mapping[int, float] | None = None) -> OrderingSpace:
    """Join the site networks of the elements of a task, all of one host and of one symmetry.

    Args:
        networks: one per element.
        exclusion: atomic number -> radius in A; two sites exclude each other below the sum of theirs.  By default the
            contact radii of `inpaint_hpc.sampling.contact_distances` (0.6 covalent radii) times 0.9: Li-Li 1.38 A,
            Na-Na 1.79 A, K-K 2.19 A.

    Raises:
        ValueError: no networks, or networks of different symmetry.
    """
    if not networks:
        raise ValueError("an occupation space needs at least one site network")
    first = networks[0]
    if any(len(other.rotations) != len(first.rotations) for other in networks):
        raise ValueError("the networks of a task must be of one symmetry")
    numbers = np.concatenate([np.full(len(network), network.number, dtype=np.int64) for network in networks])
    frac_coords = np.concatenate([network.frac_coords for network in networks])
    starts = np.cumsum([0, *(len(network.orbits) for network in networks)])
    orbits = np.concatenate([network.orbit_of + start for network, start in zip(networks, starts[:-1], strict=True)])
    occupancy = np.concatenate(
        [np.array([o.occupancy for o in network.orbits])[network.orbit_of] for network in networks if network.orbits]
        or [np.zeros(0)]
    )
    shifts = np.cumsum([0, *(len(network) for network in networks)])
    permutations = np.concatenate(
        [network.permutations + shift for network, shift in zip(networks, shifts[:-1], strict=True)], axis=1
    )
    # Operations that do not permute the sites (if the host is only approximately symmetric) are dropped.
    proper = (np.sort(permutations, axis=1) == np.arange(len(numbers))).all(axis=1)
    permutations = np.unique(permutations[proper], axis=0) if proper.any() else np.arange(len(numbers))[None]
    radii = SOFTNESS * contact_radii(numbers)
    for number, radius in (exclusion or {}).items():
        radii[numbers == number] = radius
    distances = PeriodicCell(first.host.lattice).distances(frac_coords, frac_coords)
    excluded = distances < radii[:, None] + radii[None]
    np.fill_diagonal(excluded, False)
    return OrderingSpace(
        first.host, numbers, frac_coords, orbits.astype(np.int64), occupancy, permutations, excluded, first.symprec
    )
