"""Structures in the formats that ASE reads: what of them is a crystal, and what its readers pass over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import READING_NOTES, partial_occupancy
from inpaint_hpc.crystals.text_files import open_text, unpacked
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

# Any other unknown suffix is offered to ASE as well, but only these are picked up from a folder.
ASE_SUFFIXES = (".extxyz", ".xyz", ".traj", ".db", ".xsf", ".res")
# A space group as it stands in files whose readers take only the atoms that are listed.
_GROUPS = {
    ".pdb": re.compile(r"CRYST1.{49}(?P<group>.{1,11})"),
    ".res": re.compile(r"(?P<group>SYMM.*|LATT\s+([2-7]|1\b|-[2-7]).*)", re.IGNORECASE),
    "": re.compile(
        r"[^#!]*\bspace_?group\s*=\s*(?P<group>[^,!\s]+)"  # Quantum ESPRESSO
        r"|PBC\s[^()]*\((?P<car>[^()]+)\)"  # Materials Studio .car, .arc
        r'|.*<SpaceGroup\b(?=[^>]*Operators="(?!1,0,0,0,0,1,0,0,0,0,1,0"))[^>]*GroupName="(?P<xsd>[^"]*)"',  # its .xsd
        re.IGNORECASE,
    ),
}
_NO_GROUP = ("", "0", "1", "P1")


def require_no_other_symmetry(path: Path) -> None:
    """Refuse what ASE's readers of formats with space groups pass over: the group, and occupancies.

    Raises:
        InputError: a space group other than P1, or partial occupancy.
    """
    suffix = unpacked(path).suffix.lower()
    suffix = ".res" if suffix in (".ins", ".shelx") else suffix
    if suffix in ASE_SUFFIXES and suffix != ".res":
        return  # every atom is listed, whatever a comment says of the group
    pattern = _GROUPS.get(suffix, _GROUPS[""])
    with open_text(path, "replace") as file:
        for line in file:
            if found := pattern.match(line):
                group = next(text for text in found.groupdict().values() if text is not None).strip("'\" \n")
                if group.replace(" ", "").upper() not in _NO_GROUP:
                    raise InputError(
                        f"its symmetry ('{group}') is not expanded in this format; write the file in P1, or as CIF"
                    )
            if suffix == ".pdb" and line.startswith(("ATOM", "HETATM")):
                text = line[54:60].strip()
                if text and float(text) != 1.0:
                    raise InputError(partial_occupancy(f"atom {line[6:11].strip()}", f"occupancy {text}"))


def ase_crystal(atoms: Atoms, name: str) -> Crystal:
    """The crystal of a frame, with its plain values as columns.

    Raises:
        InputError: no periodic cell, or partial occupancy.
    """
    if len(atoms) and atoms.cell.rank < 3:
        raise InputError("has no periodic cell; a host is a crystal")
    info = {key: value for key, value in atoms.info.items() if isinstance(value, int | float | str)}
    _require_full_occupancy(atoms)
    if len(atoms) and not atoms.pbc.all():
        flags = " ".join("FT"[int(one)] for one in atoms.pbc)
        if not atoms.pbc.any():
            raise InputError(f"says that it is not periodic (pbc {flags}); a host is a crystal")
        info[READING_NOTES] = f"the file says pbc {flags}: taken as periodic in all three directions of its cell"
    return Crystal(atoms.numbers, atoms.get_scaled_positions(wrap=False), atoms.cell.array, name, info)


def _require_full_occupancy(atoms: Atoms) -> None:
    """Refuse what ASE keeps of partial occupancy beside the atoms."""
    for key, values in atoms.arrays.items():
        if "occup" in key.lower() and np.any(np.abs(np.asarray(values, dtype=np.float64) - 1.0) > 1e-3):
            row = int(np.argmax(np.abs(np.asarray(values, dtype=np.float64) - 1.0) > 1e-3))
            raise InputError(partial_occupancy(f"site {row}", f"occupancy {float(values[row]):g}"))
    stated = atoms.info.get("occupancy")
    if isinstance(stated, dict):
        for site, species in stated.items():
            shares = species.values() if isinstance(species, dict) else [species]
            if any(abs(float(share) - 1.0) > 1e-3 for share in shares):
                raise InputError(partial_occupancy(f"site {site}", str(species)))
