"""CIF: pymatgen's parser, made strict, with the atoms in the file's order and frame.

Alone, the parser groups atoms by species, wraps them into the cell, rounds 0.3333 to 1/3 even where not
needed, guesses elements from labels ('Cx' becomes carbon) and leaves out what it cannot read, with warnings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import partial_occupancy
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from pymatgen.io.cif import CifBlock

_FRACTIONS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_KEPT = ("_cell_", "_symmetry_", "_space_group_")
_SYMBOL = re.compile(r"([A-Za-z]{1,3})([\d.]*[+-]?|[+-][\d.]*)")


def cif_entries(path: Path) -> list[tuple[str, Callable[[], Crystal]]]:
    """Name and reading function of each data block with atoms."""
    from pymatgen.io.cif import CifFile

    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if not text.strip():
        raise InputError("the file is empty")
    try:
        blocks = [block for block in CifFile.from_str(text).data.values() if _FRACTIONS[0] in block.data]
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InputError(
            "not a readable CIF; it is cut off or one of its loops has rows of different length"
        ) from error
    if not blocks:
        raise InputError("not a CIF with atoms, the loop with _atom_site_fract_x is missing")
    names = [path.stem] if len(blocks) == 1 else [f"{path.stem}-{i}" for i in range(len(blocks))]
    return [(name, lambda b=block, n=name: _read_block(b, n)) for block, name in zip(blocks, names, strict=True)]


def _read_block(block: CifBlock, name: str) -> Crystal:
    from pymatgen.io.cif import CifBlock, CifFile, CifParser

    columns = {key: _column(value) for key, value in block.data.items() if key.startswith("_atom_site_")}
    rows = len(columns[_FRACTIONS[0]])
    if not all(len(columns.get(key, ())) == rows for key in _FRACTIONS):
        raise InputError("atoms without all three fractional coordinates")
    labels = columns.get("_atom_site_label") or [f"atom {i}" for i in range(rows)]
    symbols = _symbols(columns, labels)
    file_frac = _fractions(columns, labels)
    _check_occupancy(columns, labels)

    # The label is the row number, so that the row of each atom of the expanded cell is known afterwards.
    data: dict[str, Any] = {key: value for key, value in block.data.items() if key.startswith(_KEPT)}
    loops = [loop for loop in block.loops if all(key.startswith(_KEPT) for key in loop)]
    data |= dict(zip(_FRACTIONS, ([repr(float(x)) for x in column] for column in file_frac.T), strict=True))
    data |= {"_atom_site_label": [str(i) for i in range(rows)], "_atom_site_type_symbol": symbols}
    loops.append(["_atom_site_type_symbol", "_atom_site_label", *_FRACTIONS])
    text = str(CifFile({name: CifBlock(data, loops, "host")}))

    operations = CifParser.from_str(text).get_symops(CifFile.from_str(text).data["host"])
    if len(operations) == 1:
        _check_p1(data)
    # Only symmetry needs 0.3333 to be 1/3, and only there may an atom move by that much.
    parser = CifParser.from_str(text, frac_tolerance=0.0 if len(operations) == 1 else 1e-4)
    try:
        structure = parser.parse_structures(primitive=False, check_occu=True, on_error="raise")[0]
    except ValueError as error:
        if "ccupancy" in str(error):
            raise InputError("two atoms share one position; remove one, or order the structure first") from error
        raise
    origin = np.array([int(site.label) for site in structure])
    order = np.argsort(origin, kind="stable")
    origin, frac = origin[order], structure.frac_coords[order]
    # The listed atom keeps its listed coordinates; only its images under symmetry are wrapped.
    shift = np.rint(file_frac[origin] - frac)
    listed = np.abs(frac + shift - file_frac[origin]).max(axis=1) < 1e-8
    frac[listed] = file_frac[origin[listed]]
    numbers = np.array([site.specie.Z for site in structure])[order]
    return Crystal(numbers, frac, structure.lattice.matrix, name)


def _check_p1(data: dict[str, Any]) -> None:
    """Refuse a space group that the parser did not understand: it would continue with the asymmetric unit alone."""
    if any("symop" in key or "equiv_pos" in key for key in data):
        return
    for key, value in data.items():
        group = str(value).replace(" ", "").strip("'\"")
        named = key.startswith(("_symmetry_space_group_name", "_space_group_name")) or key.endswith("_number")
        if named and group.upper() not in ("P1", "1", "?", "."):
            raise InputError(
                f"space group '{value}' is not understood; list its operations in the file, or write it in P1"
            )


def _column(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _symbols(columns: dict[str, list[str]], labels: list[str]) -> list[str]:
    """Element of each row: from the type symbol ('Mn4+'), or where there is none from the label ('O1A', 'OW')."""
    from pymatgen.core import Element

    symbols = []
    for label, text in zip(labels, columns.get("_atom_site_type_symbol", ["?"] * len(labels)), strict=True):
        from_label = text.strip() in ("?", ".")
        text = label if from_label else text
        match = re.match(r"([A-Za-z]{1,3})", text) if from_label else _SYMBOL.fullmatch(text.strip())
        letters = match.group(1) if match else ""
        symbol = letters.capitalize()
        if not Element.is_valid_symbol(symbol) and from_label and letters:
            two, one = letters[:2].capitalize(), letters[0].upper()
            symbol = two if letters[1:2].islower() or not Element.is_valid_symbol(one) else one
        if not Element.is_valid_symbol(symbol):
            raise InputError(f"site {label}: '{text}' is not an element")
        symbols.append(Element(symbol).symbol if symbol not in ("D", "T") else "H")
    return symbols


def _fractions(columns: dict[str, list[str]], labels: list[str]) -> np.ndarray:
    """Fractional coordinates as written, (rows, 3)."""
    from pymatgen.io.cif import str2float

    values = np.empty((len(labels), 3))
    for axis, key in enumerate(_FRACTIONS):
        for row, text in enumerate(columns[key]):
            try:
                values[row, axis] = str2float(text)
            except ValueError:
                values[row, axis] = np.nan
            if not np.isfinite(values[row, axis]):
                raise InputError(f"site {labels[row]} has coordinates that are not finite ({text})")
    return values


def _check_occupancy(columns: dict[str, list[str]], labels: list[str]) -> None:
    from pymatgen.io.cif import str2float

    for key in ("_atom_site_occupancy", "_atom_site_attached_hydrogens"):
        for label, text in zip(labels, columns.get(key, ()), strict=False):
            try:
                value = str2float(text)
            except ValueError:
                continue
            if key.endswith("occupancy") and abs(value - 1) > 1e-3:
                raise InputError(partial_occupancy(f"site {label}", f"occupancy {value:g}"))
            if key.endswith("hydrogens") and value != 0:
                raise InputError(f"site {label} has {value:g} hydrogen atoms without positions; add them first")
