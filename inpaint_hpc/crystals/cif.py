"""CIF files as they mean: atoms in the file's order and frame, expanded by the file's symmetry, or a refusal.

The grammar is read by gemmi (cif_blocks.py), the symmetry by cif_symmetry.py.  Listed atoms keep their coordinates bit
for bit; images under symmetry follow each of them in the order of the operations, wrapped into the cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import READING_NOTES, partial_occupancy
from inpaint_hpc.errors import InputError

from .cif_blocks import FRACTIONS, Block, number_of, read_blocks
from .cif_evidence import contradiction, formula_of, the_one_meant
from .cif_symmetry import Setting, settings_of

SAME_ATOM = 0.02  # A; images closer than this are one atom on a symmetry element
MAX_IMAGES = 1_000_000  # listed atoms times operations
_SYMBOL = re.compile(r"([A-Za-z]{1,3})([\d.]*[+-]?|[+-][\d.]*)")
_CELL = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)


def cif_entries(stem: str, text: str) -> list[tuple[str, Callable[[], Crystal]]]:
    """Name and reading function of each data block with atoms in the text of a file called `stem`."""
    blocks = [block for block in read_blocks(text) if FRACTIONS[0] in block.columns]
    if not blocks:
        raise InputError("not a CIF with atoms, the loop with _atom_site_fract_x is missing")
    names = [stem] if len(blocks) == 1 else [f"{stem}-{i}" for i in range(len(blocks))]
    return [(name, partial(read_block, block, name)) for block, name in zip(blocks, names, strict=True)]


def read_block(block: Block, name: str) -> Crystal:
    """The crystal of a data block.

    Raises:
        InputError: see `read_hosts`; also symmetry that is not understood or leaves open which crystal is meant, and a
            crystal that is not the one of the file's formula.
    """
    lattice = _lattice(block)
    labels = _rows_of(block)
    kept = _kept(block, len(labels))
    numbers, frac = _numbers(block, labels)[kept], _fractions(block, labels)[kept]
    _check_occupancy(block, [labels[k] for k in np.flatnonzero(kept)], kept)
    if not kept.any():
        raise InputError("has no atoms")
    settings, notes = settings_of(block, lattice)
    if any(tag.startswith("_atom_site_moment") for tag in block.columns):
        notes.append("magnetic moments of the file are passed over")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} atoms that the file calls dummies are left out")
    if len(frac) * max(map(len, settings)) > MAX_IMAGES:
        raise InputError(f"{len(frac)} listed atoms are too many for a host")
    crystals = [(setting, *_expanded(numbers, frac, lattice, setting)) for setting in settings]
    _, numbers, frac = the_one_meant(block, lattice, crystals, len(labels))
    problem = contradiction(block, numbers)
    if problem:
        raise InputError(problem)
    return Crystal(numbers, frac, lattice, name, {READING_NOTES: "\n".join(notes)} if notes else {})


def _lattice(block: Block) -> np.ndarray:
    """Rows a, b, c in A: a along x, b in the plane of x and y, as pymatgen has them from lengths and angles."""
    from pymatgen.core import Lattice

    values = []
    for tag in _CELL:
        text = block.value(tag)
        if not text and tag.startswith("_cell_angle"):
            text = "90"  # the default of the CIF dictionary
        try:
            values.append(number_of(text))
        except ValueError:
            raise InputError(f"{tag} is {f'no number ({text})' if text else 'missing'}") from None
    lengths, angles = np.array(values[:3]), np.array(values[3:])
    cosines = np.cos(np.radians(angles))
    inside = 1.0 - (cosines**2).sum() + 2.0 * cosines.prod()
    if not (np.isfinite(values).all() and (lengths > 0).all() and ((angles > 0) & (angles < 180)).all() and inside > 0):
        raise InputError("its cell lengths and angles make no cell with a volume")
    return Lattice.from_parameters(*values).matrix


def _rows_of(block: Block) -> list[str]:
    """Labels of the listed atoms."""
    rows = len(block.columns[FRACTIONS[0]])
    loop = block.loop_of.get(FRACTIONS[0])
    if any(len(block.columns.get(tag, ())) != rows or block.loop_of.get(tag) != loop for tag in FRACTIONS):
        raise InputError("atoms without all three fractional coordinates")
    atoms = {n for tag, n in block.loop_of.items() if re.match(r"_atom_site_(label|type_symbol|occupancy|fract_)", tag)}
    if len(atoms) > 1:
        raise InputError(f"data block '{block.name}' has two lists of atoms; split it into two blocks")
    return block.columns.get("_atom_site_label") or [f"atom {i}" for i in range(rows)]


def _kept(block: Block, rows: int) -> np.ndarray:
    """Which rows are atoms; 'dum' marks points that are none."""
    flags = block.columns.get("_atom_site_calc_flag", [""] * rows)
    return np.array([flag.lower() not in ("dum", "dummy") for flag in flags], dtype=bool)


def _numbers(block: Block, labels: list[str]) -> np.ndarray:
    """Atomic number of each row: from the type symbol ('Mn4+'), or where there is none from the label ('O1A', 'OW')."""
    from ase.data import atomic_numbers

    types = block.columns.get("_atom_site_type_symbol", [""] * len(labels))
    formula = formula_of(block)
    found = []
    for label, text in zip(labels, types, strict=True):
        if text:
            match = _SYMBOL.fullmatch(text)
            symbol = match[1].capitalize() if match else ""
        else:
            symbol = _element_of_label(label, formula)
        symbol = "H" if symbol in ("D", "T") else symbol
        if symbol not in atomic_numbers or symbol == "X":
            raise InputError(f"site {label}: '{text or label}' is not an element")
        found.append(atomic_numbers[symbol])
    return np.array(found, dtype=np.int64)


def _element_of_label(label: str, formula: dict[str, float]) -> str:
    """'Mn1' -> Mn, 'O1A' -> O, 'OW' -> O; where two readings are possible the one in the formula, else a refusal.

    Words are no elements: 'Wat1' is not tungsten.
    """
    from ase.data import atomic_numbers

    match = re.match(r"[A-Z]?[a-z]+|[A-Z]+", label)
    word = match[0] if match else ""
    if word != word.upper() or len(word) == 1:
        return word.capitalize()
    known = [s for s in (word[:2].capitalize(), word[0]) if s in atomic_numbers or s in ("D", "T")]
    stated = [s for s in known if s in formula]
    if len(known) == 1 and len(word) == 2:
        return known[0]
    if len(stated) != 1:
        may_be = " or ".join(known) or "no element"
        raise InputError(f"site {label} may be {may_be}; add _atom_site_type_symbol")
    return stated[0]


def _fractions(block: Block, labels: list[str]) -> np.ndarray:
    """Fractional coordinates as written, (rows, 3)."""
    values = np.empty((len(labels), 3))
    for axis, tag in enumerate(FRACTIONS):
        for row, text in enumerate(block.columns[tag]):
            try:
                values[row, axis] = number_of(text)
            except ValueError:
                values[row, axis] = np.nan
            if not np.isfinite(values[row, axis]):
                raise InputError(f"site {labels[row]} has coordinates that are not finite ({text or '?'})")
    return values


def _check_occupancy(block: Block, labels: list[str], kept: np.ndarray) -> None:
    for tag in block.columns:
        if tag.startswith("_atom_site_") and "occup" in tag and not tag.endswith(("_su", "occupancy")):
            raise InputError(f"{tag} is not understood, and it may say that sites are partially occupied")
    for tag in ("_atom_site_occupancy", "_atom_site_attached_hydrogens"):
        texts = block.columns.get(tag, [""] * len(kept))
        for label, text in zip(labels, np.array(texts, dtype=object)[kept], strict=True):
            if not text:
                continue
            try:
                value = number_of(text)
            except ValueError:
                raise InputError(f"site {label}: {tag} '{text}' is no number") from None
            if tag.endswith("occupancy") and abs(value - 1) > 1e-3:
                raise InputError(partial_occupancy(f"site {label}", f"occupancy {value:g}"))
            if tag.endswith("hydrogens") and value != 0:
                raise InputError(f"site {label} has {value:g} hydrogen atoms without positions; add them first")


def _expanded(
    numbers: np.ndarray, frac: np.ndarray, lattice: np.ndarray, setting: Setting
) -> tuple[np.ndarray, np.ndarray]:
    """All atoms of the cell: each listed one as it is written, then its images in the order of the operations."""
    if len(setting) == 1:
        return numbers, frac
    rows, places = [], []
    for row, listed in enumerate(frac):
        images = setting.rotations @ listed + setting.translations
        kept = _distinct(images, lattice)
        places.append(listed[None])
        places.append(kept[1:])
        rows += [row] * len(kept)
    return numbers[rows], np.concatenate(places)


def _distinct(images: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Images that are different atoms, wrapped into the cell, the first one first.

    Where 0.3333 stands for 1/3 the images of an atom on a symmetry element nearly coincide: they are one atom, at their
    mean.
    """
    difference = images[:, None] - images[None]
    difference -= np.round(difference)
    near = np.linalg.norm(difference @ lattice, axis=2) < SAME_ATOM
    first = np.flatnonzero(near.argmax(axis=1) == np.arange(len(images)))
    found = images[first].copy()
    for k, row in enumerate(first):
        members = difference[near[row], row]
        if np.abs(members).max(initial=0.0) > 1e-8:
            found[k] += members.mean(axis=0)
    found -= np.floor(found)
    found[found >= 1.0] = 0.0  # -1e-17 - floor(-1e-17) is 1
    return found
