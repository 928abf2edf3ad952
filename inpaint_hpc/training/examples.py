"""One training example: a host and its guests, masked out of a crystal or taken from an electrode pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import ElectrodePair, is_validation, read_electrodes
from inpaint_hpc.errors import InputError

from .masks import double_cell, draw_mask

# One in this many frameworks is held out of the pairs.  Not a divisor of 5 or 50, because files may already be split by
# the same hash modulo those.
PAIR_MODULUS = 11


@dataclass(frozen=True)
class Example:
    """A host and the guests that belong in it.

    Attributes:
        host: the crystal without its guests.
        guest_numbers: atomic numbers, int64 (n,).
        guest_frac: clean fractional coordinates in the host's cell, (n, 3).
    """

    host: Crystal
    guest_numbers: np.ndarray
    guest_frac: np.ndarray


def load_pairs(path: str | Path, max_atoms: int | None) -> tuple[list[ElectrodePair], list[ElectrodePair]]:
    """Electrode pairs for training and for validation, of at most `max_atoms` atoms when discharged.

    All pairs of one host composition fall on the same side.

    Raises:
        InputError: not an electrode file, or one of the two parts is empty.
    """
    parts: tuple[list, list] = ([], [])
    for pair in read_electrodes(path):
        if max_atoms is None or len(pair.reference) <= max_atoms:
            parts[is_validation(pair.host.numbers, PAIR_MODULUS)].append(pair)
    if not all(parts):
        raise InputError(f"{path}: no training or no validation pairs of at most {max_atoms} atoms")
    return parts


def masked_example(crystal: Crystal, kind: str, supercell_atoms: int, rng: np.random.Generator) -> Example:
    """Guests masked out of a crystal; partial masks may double a small cell first."""
    numbers, frac, lattice = crystal.numbers, crystal.frac_coords, crystal.lattice
    if kind == "part" and 2 * len(numbers) <= supercell_atoms and rng.random() < 0.5:
        numbers, frac, lattice = double_cell(numbers, frac, lattice)
    mask = draw_mask(numbers, kind, rng)
    return Example(Crystal(numbers[~mask], frac[~mask], lattice), numbers[mask], frac[mask])


def pair_example(pairs: Sequence[ElectrodePair], partial: float, rng: np.random.Generator) -> Example:
    """The guests of a discharged electrode in the host as it relaxed without them.

    Guests keep their fractional coordinates: the two lattices and origins of a pair are aligned.  With probability
    `partial` some guests are in place already and count as host, as they do when guests are placed one after another.
    """
    pair = pairs[int(rng.integers(len(pairs)))]
    host, n = pair.host, pair.n_guest
    frac = pair.reference.frac_coords[len(host) :]
    order = rng.permutation(n)
    fixed = int(rng.integers(1, n)) if n > 1 and rng.random() < partial else 0
    numbers = np.full(n, pair.guest_z, dtype=np.int64)
    host = host.with_guests(numbers[:fixed], frac[order[:fixed]])
    return Example(host, numbers[fixed:], frac[order[fixed:]])


def perturbed(example: Example, noise: float, strain: float, rng: np.random.Generator) -> Example:
    """The example in a host that is not relaxed around its guests: atoms moved, cell strained.

    Args:
        example: as drawn.
        noise: host atoms move by normal noise of up to this standard deviation, A.
        strain: components of a symmetric strain of the cell are uniform up to this.
    """
    host = example.host
    moved = rng.normal(size=(len(host), 3)) * rng.uniform(0, noise)
    frac = host.frac_coords + moved @ np.linalg.inv(host.lattice)
    lattice = host.lattice
    if strain > 0:
        upper = rng.uniform(-strain, strain, size=(3, 3)) * rng.uniform(0, 1)
        lattice = lattice @ (np.eye(3) + 0.5 * (upper + upper.T))
    return Example(Crystal(host.numbers, frac, lattice), example.guest_numbers, example.guest_frac)
