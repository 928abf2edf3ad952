"""Cells for all-atom generation: a composition and a cell make a task whose host has no atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError

from .tasks import Task, guest_numbers

# Free shape parameters of each family; conventional cells of the International Tables.
_FREE = {
    "cubic": (),
    "tetragonal": ("c_over_a",),
    "orthorhombic": ("b_over_a", "c_over_a"),
    "hexagonal": ("c_over_a",),
    "rhombohedral": ("alpha",),
    "monoclinic": ("b_over_a", "c_over_a", "beta"),
    "triclinic": ("b_over_a", "c_over_a", "alpha", "beta", "gamma"),
}
FAMILIES = tuple(_FREE)


def bravais_lattice(family: str, volume: float, **shape: float) -> np.ndarray:
    """Cell of a lattice family with a given volume.

    Args:
        family: one of `FAMILIES`; hexagonal and rhombohedral cells are primitive.
        volume: A^3.
        shape: free parameters of the family: axis ratios `b_over_a`, `c_over_a` (default 1) and angles `alpha`, `beta`,
            `gamma` in degrees (no default).

    Returns:
        Rows a, b, c in A, float64 (3, 3); a along x, b in the xy plane.

    Raises:
        InputError: unknown family, a parameter that the family fixes, a missing angle, or values no cell can have.
    """
    if family not in _FREE:
        raise InputError(f"unknown lattice family '{family}': choose one of {', '.join(FAMILIES)}")
    if not 0.0 < volume < np.inf:
        raise InputError(f"the cell volume must be positive, not {volume:g} A^3")
    free = _FREE[family]
    for name, value in shape.items():
        if name not in free:
            allowed = f"only {', '.join(free)}" if free else "no shape parameter"
            raise InputError(f"a {family} cell takes {allowed}: leave out {name}")
        if not 0.0 < value < (np.inf if name.endswith("_over_a") else 180.0):
            raise InputError(f"{name} = {value:g} is not possible in a cell")
    missing = [name for name in free if not name.endswith("_over_a") and name not in shape]
    if missing:
        raise InputError(f"a {family} cell needs {', '.join(missing)} (degrees)")
    lengths = np.array([1.0, shape.get("b_over_a", 1.0), shape.get("c_over_a", 1.0)])
    unit = _rows(lengths, *_angles(family, shape))
    unit_volume = np.linalg.det(unit)
    if not unit_volume > 1e-3 * lengths.prod():
        raise InputError(
            f"angles {', '.join(f'{shape[n]:g}' for n in free if n in shape)} give a flat or impossible cell"
        )
    return unit * (volume / unit_volume) ** (1.0 / 3.0)


def _angles(family: str, shape: Mapping[str, float]) -> tuple[float, float, float]:
    if family == "hexagonal":
        return 90.0, 90.0, 120.0
    if family == "rhombohedral":
        return (shape["alpha"],) * 3
    return shape.get("alpha", 90.0), shape.get("beta", 90.0), shape.get("gamma", 90.0)


def _rows(lengths: np.ndarray, alpha: float, beta: float, gamma: float) -> np.ndarray:
    cos_a, cos_b, cos_g = (0.0 if angle == 90.0 else np.cos(np.radians(angle)) for angle in (alpha, beta, gamma))
    sin_g = np.sqrt(1.0 - cos_g**2)
    cy = (cos_a - cos_b * cos_g) / sin_g
    cz = np.sqrt(max(0.0, 1.0 - cos_b**2 - cy**2))
    return lengths[:, None] * np.array([[1.0, 0.0, 0.0], [cos_g, sin_g, 0.0], [cos_b, cy, cz]])


def empty_host(lattice: np.ndarray, name: str = "") -> Crystal:
    """A crystal without atoms, of cell rows a, b, c in A, (3, 3)."""
    return Crystal(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), lattice, name)


def generation_task(
    composition: str | Mapping[Any, int],
    lattice: np.ndarray | None = None,
    volume_per_atom: float | None = None,
    family: str = "cubic",
    name: str = "",
    **shape: float,
) -> Task:
    """The task of placing all atoms of a composition in a cell.

    Args:
        composition: atoms in the cell, as a formula ("Li4 Mn4 O8") or as element -> count.
        lattice: rows a, b, c in A, (3, 3); or else
        volume_per_atom: A^3, with `family` and `shape` as in `bravais_lattice`.
        name: by default the formula.

    Raises:
        InputError: both or neither of lattice and volume, a formula that cannot be read or has fractions, a cell that
            is not possible, or more atoms than it can hold.
    """
    numbers = guest_numbers(_parse_formula(composition) if isinstance(composition, str) else composition)
    if not numbers:
        raise InputError("the composition is empty: give a formula such as 'Li4 Mn4 O8'")
    if lattice is None and volume_per_atom is not None:
        lattice = bravais_lattice(family, volume_per_atom * len(numbers), **shape)
    elif lattice is None or volume_per_atom is not None:
        raise InputError("give either a lattice or a volume per atom")
    elif shape:
        raise InputError(f"a given lattice has its shape already: leave out {', '.join(shape)}")
    name = name or (composition if isinstance(composition, str) else "generated").replace(" ", "")
    return Task(empty_host(lattice, name), numbers, name)


def _parse_formula(formula: str) -> dict[str, int]:
    from pymatgen.core import Composition

    try:
        amounts = Composition(formula).get_el_amt_dict()
    except ValueError as error:
        raise InputError(f"cannot read the formula '{formula}': write it like 'Li4 Mn4 O8'") from error
    fractions = [symbol for symbol, amount in amounts.items() if amount != round(amount)]
    if fractions:
        raise InputError(
            f"'{formula}' has a fraction of {', '.join(fractions)}: give whole numbers of atoms in the cell"
        )
    return {symbol: round(amount) for symbol, amount in amounts.items()}
