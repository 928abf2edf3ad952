"""Structures in JSON: pymatgen's own, lists of them, tables of databases and pandas, JSON lines.

Read by hand from the few keys that are needed: pymatgen's decoder imports and calls what '@module' and '@class' name,
anywhere in the data.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import partial_occupancy
from inpaint_hpc.errors import InputError

# Where tables of databases keep the structure of a row; 'entry' ones hold it one level deeper.
STRUCTURES = ("structure", "initial_structure", "final_structure", "relaxed_structure")
ENTRIES = ("computed_structure_entry", "entry", "cse")
_IDS = ("material_id", "mat_id", "entry_id", "id", "index")


def json_items(text: str) -> list[dict[str, Any]]:
    """Objects that each hold one structure.

    Raises:
        InputError: not JSON, or no structure in it.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            data = [json.loads(line) for line in lines]
        except json.JSONDecodeError:
            raise InputError(f"not JSON, or cut off ({error.msg}, line {error.lineno})") from None
    except RecursionError:
        raise InputError("JSON that is nested too deeply") from None
    items = data if isinstance(data, list) else _rows(data)
    if not all(isinstance(item, dict) for item in items):
        raise InputError("not a pymatgen structure, or a list of them")
    return items


def _rows(data: Any) -> list[Any]:
    """One object, or the rows of a table as pandas writes it by columns, split, or as a named list."""
    if not isinstance(data, dict) or "lattice" in data:
        return [data]
    known = [name for name in (*STRUCTURES, *ENTRIES) if name in data]
    if {"columns", "data"} <= data.keys():
        index = data.get("index", range(len(data["data"])))
        rows = [dict(zip(data["columns"], row, strict=False)) for row in data["data"]]
        return [{"index": i, **row} for i, row in zip(index, rows, strict=True)]
    if known and isinstance(data[known[0]], dict) and not {"lattice", "structure", "sites"} & data[known[0]].keys():
        columns = {name: column for name, column in data.items() if isinstance(column, dict)}
        return [{"index": key, **{name: column.get(key) for name, column in columns.items()}} for key in data[known[0]]]
    return [data]


def name_of(item: dict[str, Any], default: str) -> str:
    """The id of a row, by default `default`."""
    return next((str(item[key]) for key in _IDS if item.get(key) not in (None, "")), default)


def json_crystal(item: dict[str, Any], name: str) -> Crystal:
    """The crystal in an object, with its plain numbers as columns.

    Raises:
        InputError: no structure, several, partial occupancy, or an element that is none.
    """
    if "lattice" in item:
        return _crystal(item, name, {})
    found = {key: item[key] for key in STRUCTURES if isinstance(item.get(key), dict)}
    found |= {
        key: item[key]["structure"] for key in ENTRIES if isinstance(item.get(key), dict) and "structure" in item[key]
    }
    if not found:
        raise InputError("no structure with a lattice in it; expected pymatgen's Structure.as_dict(), or a list")
    if len(found) > 1:
        raise InputError(f"holds several structures ({', '.join(found)}); keep the one that is meant")
    (structure,) = found.values()
    if not isinstance(structure, dict) or "lattice" not in structure:
        raise InputError("no structure with a lattice in it; expected pymatgen's Structure.as_dict(), or a list")
    return _crystal(
        structure,
        name,
        {key: value for key, value in item.items() if isinstance(value, int | float) and key != "index"},
    )


def _crystal(data: dict[str, Any], name: str, info: dict[str, Any]) -> Crystal:
    """A crystal from pymatgen's `Structure.as_dict()`."""
    lattice = np.array(data["lattice"]["matrix"], dtype=np.float64)
    if lattice.shape != (3, 3):
        raise InputError("its lattice is no 3 x 3 matrix")
    numbers, frac = [], []
    for index, site in enumerate(data["sites"]):
        species = site["species"]
        if len(species) != 1 or abs(float(species[0].get("occu", 1)) - 1) > 1e-8:
            shown = ", ".join(f"{one.get('element')}:{one.get('occu')}" for one in species)
            raise InputError(partial_occupancy(f"site {index}", shown))
        numbers.append(_element(str(species[0]["element"]), index))
        place = site["abc"] if "abc" in site else np.linalg.solve(lattice.T, np.array(site["xyz"], dtype=np.float64))
        frac.append([float(value) for value in place])
    return Crystal(np.array(numbers, dtype=np.int64), np.array(frac).reshape(-1, 3), lattice, name, info)


def _element(text: str, index: int) -> int:
    """Atomic number of 'Mn', 'Mn3+' or 'D'."""
    from ase.data import atomic_numbers

    match = re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*[+-])?", text)
    symbol = {"D": "H", "T": "H"}.get(match[1], match[1]) if match else ""
    if symbol not in atomic_numbers or symbol == "X":
        raise InputError(f"site {index}: '{text}' is not an element")
    return atomic_numbers[symbol]
