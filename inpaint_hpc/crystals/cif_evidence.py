"""What else a CIF states of its crystal: formula, Z, density, multiplicities; to decide and to check."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from inpaint_hpc.errors import InputError

from .cif_blocks import Block, number_of
from .cif_symmetry import Setting

Expanded = tuple[Setting, np.ndarray, np.ndarray]
"""A setting, and atomic numbers and fractional coordinates of the whole cell by it."""
_DENSITY_TOLERANCE = 0.08
_AMU_PER_A3 = 1.66053907  # g/cm^3


def formula_of(block: Block) -> dict[str, float]:
    """Element -> number in `_chemical_formula_sum`; empty without one that can be read.  D and T count as H."""
    from ase.data import atomic_numbers

    text = block.value("_chemical_formula_sum")
    found: defaultdict[str, float] = defaultdict(float)
    position = 0
    for match in re.finditer(r"\s*([A-Z][a-z]?)\s*(\d*\.?\d*)\s*,?", text):
        symbol = "H" if match[1] in ("D", "T") else match[1]
        if match.start() != position or symbol not in atomic_numbers:
            return {}
        found[symbol] += float(match[2]) if match[2] else 1.0
        position = match.end()
    return dict(found) if position == len(text) else {}


def contradiction(block: Block, numbers: np.ndarray) -> str:
    """Why atoms of a whole cell are not those that the file's formula (and Z) state, in one line; '' if they are."""
    from ase.data import chemical_symbols

    formula = formula_of(block)
    if not formula:
        return ""
    counts = Counter(chemical_symbols[z] for z in numbers.tolist())
    ratios = [counts.get(symbol, 0) / wanted for symbol, wanted in formula.items() if wanted > 0]
    units = _units(block)
    stated = " ".join(f"{symbol}{wanted:g}" for symbol, wanted in formula.items())
    found = " ".join(f"{symbol}{n}" for symbol, n in counts.items())
    same = set(counts) == set(formula) and max(ratios) - min(ratios) <= 0.02 * max(ratios)
    if not same:
        return f"its atoms make {found} in the cell, but its formula is {stated}: atoms or symmetry are wrong"
    # Some programs state the whole cell as the formula, and Z of the reduced one.
    whole = units and abs(ratios[0] - 1) <= 0.02 and all((wanted / units) % 1 == 0 for wanted in formula.values())
    if units and not whole and abs(ratios[0] - units) > 0.02 * units:
        return f"its atoms make {found} in the cell, but it states {units:g} formula units of {stated}"
    return ""


def the_one_meant(block: Block, lattice: np.ndarray, found: Sequence[Expanded], rows: int) -> Expanded:
    """Of the crystals that a file may mean, the one that agrees with what else it states.

    Raises:
        InputError: none agrees, or several different ones do.
    """
    different = _different(found)
    if len(different) == 1:
        return different[0]
    agreeing = [
        one
        for one in different
        if not contradiction(block, one[1])
        and _density_agrees(block, lattice, one[1])
        and _multiplicities_agree(block, one, rows)
    ]
    if len(agreeing) == 1:
        return agreeing[0]
    labels = [setting.label for setting, _, _ in (agreeing or different)]
    shown = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    if not agreeing:
        raise InputError(f"no setting of its space group gives what it states ({shown}); list the symmetry operations")
    raise InputError(f"its space group leaves open which setting is meant: {shown}; list the symmetry operations")


def _different(found: Sequence[Expanded]) -> list[Expanded]:
    """Each crystal once: settings may give the same atoms."""
    kept: list[Expanded] = []
    for one in found:
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _same(first: Expanded, second: Expanded) -> bool:
    from scipy.spatial import cKDTree

    (_, numbers, frac), (_, others, places) = first, second
    if len(numbers) != len(others) or Counter(numbers.tolist()) != Counter(others.tolist()):
        return False
    wrapped = [(one - np.floor(one)) % 1.0 for one in (frac, places)]
    # Fractions as lengths of a cubic box keep it simple; atoms are tenths apart, rounding is a millionth.
    distances, rows = cKDTree(wrapped[1], boxsize=1.0).query(wrapped[0])
    return bool((distances < 1e-4).all() and (numbers == others[rows]).all())


def _units(block: Block) -> float:
    try:
        return number_of(block.value("_cell_formula_units_z"))
    except ValueError:
        return 0.0


def _density_agrees(block: Block, lattice: np.ndarray, numbers: np.ndarray) -> bool:
    from ase.data import atomic_masses

    try:
        stated = number_of(block.value("_exptl_crystal_density_diffrn"))
    except ValueError:
        return True
    density = atomic_masses[numbers].sum() * _AMU_PER_A3 / abs(np.linalg.det(lattice))
    return stated <= 0 or abs(density - stated) <= _DENSITY_TOLERANCE * stated


def _multiplicities_agree(block: Block, one: Expanded, rows: int) -> bool:
    names = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
    texts = next((block.columns[name] for name in names if name in block.columns), [])
    try:
        stated = [int(number_of(text)) for text in texts]
    except ValueError:
        return True
    return len(stated) != rows or sum(stated) == len(one[1])
