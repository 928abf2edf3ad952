"""Which atoms of a training crystal are guests: the mask mixture.

One set of weights serves inpainting, dilute guests, several species at once and all-atom generation, because all of
these occur in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("species", "part", "several", "all")
# Weights: common intercalation ions are guests more often, but every element is sometimes a guest.
GUEST_IONS = {3: 6.0, 11: 6.0, 19: 6.0, 12: 6.0, 20: 6.0, 30: 6.0, 13: 6.0, 37: 2.0, 55: 2.0, 38: 2.0, 56: 2.0, 1: 2.0}


@dataclass(frozen=True)
class MaskMixture:
    """Fractions of the four kinds of masks; they are normalised to one.

    Attributes:
        species: all atoms of one species.
        part: a random part of one species, half of the time in a supercell if that stays small.
        several: all atoms of two species.
        all: every atom; the host is empty.
    """

    species: float = 0.65
    part: float = 0.19
    several: float = 0.04
    all: float = 0.12

    def probabilities(self) -> np.ndarray:
        """Share of each of `KINDS`, summing to 1; raises ValueError for fractions that cannot be shares."""
        p = np.array([getattr(self, kind) for kind in KINDS])
        if (p < 0).any() or p.sum() <= 0:
            raise ValueError("mask fractions must not be negative, and not all zero")
        return p / p.sum()


def draw_mask(numbers: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Guests of a crystal as a boolean mask (n,), at least one of them."""
    if kind == "all":
        return np.ones(len(numbers), bool)
    species = np.unique(numbers)
    weight = np.array([GUEST_IONS.get(int(z), 1.0) for z in species])
    n_species = 2 if kind == "several" and len(species) > 2 else 1
    chosen = rng.choice(species, n_species, replace=False, p=weight / weight.sum())
    mask = (numbers[:, None] == chosen).any(1)
    if kind == "part" and mask.sum() > 1:
        keep = rng.integers(1, mask.sum())
        mask[rng.choice(np.flatnonzero(mask), keep, replace=False)] = False
    return mask


def double_cell(
    numbers: np.ndarray, frac_coords: np.ndarray, lattice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The supercell doubled along the shortest cell vector."""
    axis = int(np.argmin(np.linalg.norm(lattice, axis=1)))
    step = np.zeros(3)
    step[axis] = 0.5
    scale = np.ones(3)
    scale[axis] = 0.5
    frac = np.concatenate([frac_coords * scale, frac_coords * scale + step])
    bigger = lattice.copy()
    bigger[axis] *= 2
    return np.concatenate([numbers, numbers]), frac, bigger
