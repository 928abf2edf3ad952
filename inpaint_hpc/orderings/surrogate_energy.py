"""A fast model of the energy of orderings, learnt from the few whose energy was computed.

    E(ordering) = c + sum over guests of e(orbit) + sum over pairs of guests of v(distance)

The pair energy is a screened Coulomb repulsion, z_i z_j exp(-r / 4 A) / r summed over images, plus a short-ranged one,
exp(-r / 0.7 A): a cluster expansion (J. M. Sanchez, F. Ducastelle and D. Gratias, Physica A 128, 334 (1984)) with few
parameters, because only some tens of energies are computed per host.  Parameters are fitted by ridge regression around
prior knowledge: sites that samples choose often are low in energy, and ions repel each other.
"""

from __future__ import annotations

import numpy as np

from inpaint_hpc.crystals.ions import ION_CHARGES

from .ordering_space import OrderingSpace

SCREENING = 4.0  # A
CORE = 0.7  # A
CUTOFF = 12.0  # A
COULOMB = 14.399645  # e^2 / (4 pi eps0) in eV A
PERMITTIVITY = 8.0  # of the prior
SITE_SPREAD = 0.3  # eV; the prior site energy is minus this times ln(occupancy)
# Prior standard deviations, eV: of orbit energies, and of the two pair strengths relative to their prior.
ORBIT_WIDTH, PAIR_WIDTH, NOISE = 1.0, 1.0, 0.15
_ROWS = 512  # orderings at once, so that their matrices stay in the cache


class Surrogate:
    """The model for one occupation space.

    Args:
        space: the sites.
    """

    def __init__(self, space: OrderingSpace) -> None:
        self.space = space
        charges = np.array([ION_CHARGES.get(int(z), 1) for z in space.numbers], dtype=np.float64)
        distances = _image_distances(space)
        # Most images of a site are beyond the cutoff.
        near = np.flatnonzero(np.isfinite(distances))
        r = distances.reshape(-1)[near]
        scale = COULOMB / PERMITTIVITY * np.outer(charges, charges)
        screened, core = np.zeros_like(distances), np.zeros_like(distances)
        screened.reshape(-1)[near] = np.exp(-r / SCREENING) / r
        core.reshape(-1)[near] = np.exp(-r / CORE)
        screened, core = screened.sum(axis=0), core.sum(axis=0)
        self.pairs = np.stack([scale * screened, 20.0 * core])
        n_orbits = int(space.orbits.max(initial=-1)) + 1
        multiplicity = np.maximum(np.bincount(space.orbits, minlength=n_orbits), 1)
        occupancy = np.bincount(space.orbits, weights=space.occupancy, minlength=n_orbits) / multiplicity
        density = np.maximum(occupancy, 1e-3) / multiplicity
        self.prior = np.concatenate([-SITE_SPREAD * np.log(density), [1.0, 1.0]])
        self.weights = self.prior.copy()
        self.n_orbits = n_orbits

    def features(self, orderings: np.ndarray) -> np.ndarray:
        """Guests on each orbit and the two pair sums, float64 (M, n_orbits + 2), of orderings (M, n)."""
        orderings = np.asarray(orderings, dtype=np.int64)
        rows = np.arange(len(orderings))[:, None]
        width = self.n_orbits + 2
        columns = (self.space.orbits[orderings] + width * rows).reshape(-1)
        features = np.bincount(columns, minlength=width * len(orderings)).reshape(-1, width).astype(np.float64)
        for start in range(0, len(orderings), _ROWS):
            part = orderings[start : start + _ROWS]
            taken = np.zeros((len(part), len(self.space)))
            taken.reshape(-1)[part + len(self.space) * rows[: len(part)]] = 1.0
            for column, pair in enumerate(self.pairs, self.n_orbits):
                features[start : start + _ROWS, column] = 0.5 * np.einsum("ms,ms->m", taken @ pair, taken)
        return features

    def energies(self, orderings: np.ndarray) -> np.ndarray:
        """Energies in eV up to a constant, float64 (M,)."""
        return self.features(orderings) @ self.weights

    def fit(self, orderings: np.ndarray, energies: np.ndarray) -> None:
        """Fit to computed energies in eV (M,); those that are not finite are left out.

        High energies have less weight: what matters is the order of the low ones.
        """
        energies = np.asarray(energies, dtype=np.float64)
        finite = np.isfinite(energies)
        if finite.sum() < 2:
            return
        x, y = self.features(np.asarray(orderings)[finite]), energies[finite]
        weight = 1.0 / (NOISE + 0.3 * (y - y.min()))
        # The constant is free: centre everything by the weighted mean.
        share = weight**2 / (weight**2).sum()
        x, y = x - share @ x, y - share @ y
        width = np.concatenate([np.full(self.n_orbits, ORBIT_WIDTH), np.full(2, PAIR_WIDTH)])
        a = (x * weight[:, None]).T @ (x * weight[:, None]) + np.diag(width**-2)
        b = (x * weight[:, None]).T @ (weight * (y - x @ self.prior))
        self.weights = self.prior + np.linalg.solve(a, b)
        # Ions of one charge never attract each other.
        self.weights[-2:] = np.maximum(self.weights[-2:], 0.0)

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Energies of sites in eV, (S,), and of pairs, (S, S), as fitted; the diagonal is a site with its images."""
        return self.weights[self.space.orbits], self.pairs[0] * self.weights[-2] + self.pairs[1] * self.weights[-1]


def _image_distances(space: OrderingSpace) -> np.ndarray:
    """Distances in A between sites and images of sites, (images, S, S); infinite beyond the cutoff, and of a site to
    itself."""
    lattice = np.asarray(space.host.lattice, dtype=np.float64)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil(CUTOFF / heights).astype(int) + 1
    shifts = np.array(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")).reshape(3, -1).T
    frac = space.frac_coords - np.floor(space.frac_coords)
    # Images of the cell beyond the cutoff from every site would take most of the time.
    corners = np.linalg.norm(shifts @ lattice, axis=1) <= CUTOFF + np.linalg.norm(lattice, axis=1).sum()
    x, y, z = np.ascontiguousarray(np.moveaxis((frac[None] - frac[:, None]) @ lattice, -1, 0))
    found = []
    for shift in shifts[corners]:
        a, b, c = shift @ lattice
        # By components: a norm over an axis of three is slow.
        distances = np.sqrt((x + a) ** 2 + (y + b) ** 2 + (z + c) ** 2)
        apart = (distances > CUTOFF) | (distances < 1e-6)
        if not apart.all():
            distances[apart] = np.inf
            found.append(distances)
    return np.array(found).reshape(-1, len(space), len(space))
