"""Writes crystals atomically, in P1 and in their own atom order."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

# Format: suffix of its files.
FORMATS = {"cif": ".cif", "poscar": ".vasp", "extxyz": ".extxyz", "json": ".json"}


def write_structure(crystal: Crystal, path: str | Path, format: str | None = None) -> Path:
    """Write one crystal; an existing file is replaced.

    | format  | suffix          | keeps                                                                              |
    |---------|-----------------|------------------------------------------------------------------------------------|
    | cif     | .cif            | fractional coordinates and cell parameters to 12 digits; not the cell's orientation |
    | poscar  | .vasp, POSCAR*  | everything to 16 digits; a left-handed cell is inverted, as VASP requires           |
    | extxyz  | .extxyz, .xyz   | lattice exactly, positions to 1e-8 A                                                |
    | json    | .json           | every bit (pymatgen `Structure`)                                                    |

    Args:
        crystal: the crystal.
        path: file to write; a missing folder is made.
        format: a key of `FORMATS`; by default taken from the file name.

    Returns:
        The path.

    Raises:
        InputError: an unknown format.
        OSError: the file cannot be written.
    """
    path = Path(path)
    format = format or _format_of(path)
    if format not in _WRITERS:
        raise InputError(f"{path}: unknown format '{format}'; choose one of {', '.join(FORMATS)}")
    text = _WRITERS[format](crystal)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def safe_name(name: str) -> str:
    """A crystal's name as part of a file name: everything but letters, digits, '.', '_', '+' and '-' becomes '_'."""
    return re.sub(r"[^\w.+-]+", "_", name).strip(".") or "crystal"


def _format_of(path: Path) -> str:
    if path.suffix.lower() in (".vasp", ".poscar") or path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    by_suffix = {suffix: name for name, suffix in FORMATS.items()} | {".xyz": "extxyz"}
    if path.suffix.lower() not in by_suffix:
        raise InputError(f"{path}: the file name does not give the format; end it in {', '.join(FORMATS.values())}")
    return by_suffix[path.suffix.lower()]


def _cif(crystal: Crystal) -> str:
    from pymatgen.io.cif import CifWriter

    return str(CifWriter(crystal.to_structure(), symprec=None, significant_figures=12))


def _poscar(crystal: Crystal) -> str:
    from pymatgen.io.vasp import Poscar

    comment = " ".join(f"{crystal.name} {crystal.formula}".split())
    return Poscar(crystal.to_structure(), comment=comment, sort_structure=False).get_str(significant_figures=16)


def _extxyz(crystal: Crystal) -> str:
    from io import StringIO

    from ase.io import write

    atoms = crystal.to_atoms()
    if crystal.name:
        atoms.info["name"] = crystal.name
    buffer = StringIO()
    write(buffer, atoms, format="extxyz")
    return buffer.getvalue()


def _json(crystal: Crystal) -> str:
    structure = crystal.to_structure()
    structure.properties = {"name": crystal.name}
    return structure.to_json()


_WRITERS: dict[str, Callable[[Crystal], str]] = {
    "cif": _cif,
    "poscar": _poscar,
    "extxyz": _extxyz,
    "json": _json,
}
