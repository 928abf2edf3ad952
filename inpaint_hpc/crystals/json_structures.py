"""Structures in JSON: pymatgen's own, lists of them, tables of databases and pandas, JSON lines.

Read by hand from the few keys that are needed: pymatgen's decoder imports and calls what '@module' and '@class' name,
anywhere in the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TextIO

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import partial_occupancy
from inpaint_hpc.crystals.json_stream import JsonStream
from inpaint_hpc.errors import InputError

# Where tables of databases keep the structure of a row; 'entry' ones hold it one level deeper.
STRUCTURES = ("structure", "initial_structure", "final_structure", "relaxed_structure")
ENTRIES = ("computed_structure_entry", "entry", "cse")
_ROW = object()
_IDS = ("material_id", "mat_id", "entry_id", "id", "index")


def json_rows(open_text: Callable[[], AbstractContextManager[TextIO]]) -> Iterator[dict[str, Any]]:
    """Objects that each hold one structure, one at a time.

    Args:
        open_text: opens the file, from its start.  A file that is one object is read twice: in a table by columns, ids
            and numbers may come after the structures.

    Raises:
        InputError: not JSON, or no structure in it; a file that is damaged later on gives its rows up to there.
    """
    with open_text() as file:
        stream = JsonStream(file)
        if not stream.next_character():
            raise InputError("the file is empty")
        if stream.next_character() == "[":
            yield from (_object(stream.value()) for _ in stream.elements())
            return
        outline = _outline(stream) if stream.next_character() == "{" else {}
        alone = not stream.next_character()
    with open_text() as file:
        stream = JsonStream(file)
        if alone:
            yield from _rows(stream, outline)
        else:  # JSON lines
            while stream.next_character():
                yield _object(stream.value())


def is_ase_database(open_text: Callable[[], AbstractContextManager[TextIO]]) -> bool:
    """Whether a JSON file is a database of ASE: objects by number, each with its atomic numbers and positions."""
    with open_text() as file:
        stream = JsonStream(file)
        if stream.next_character() != "{":
            return False
        name = next(stream.names(), "")
        row = stream.value() if name.isdecimal() else {}
        return name in ("ids", "nextid") or (isinstance(row, dict) and {"numbers", "positions"} <= row.keys())


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InputError("not a pymatgen structure, or a list of them")
    return found


def _outline(stream: JsonStream) -> dict[str, Any]:
    """What an object holds: plain values as they are, everything that may be long only by its kind.

    Returns:
        By name: a plain value; a list, in which lists and objects are given as `list` and `dict`; an object the same
        way, or `_ROW` for one that holds a structure.
    """
    outline: dict[str, Any] = {}
    for name in stream.names():
        kind = stream.next_character()
        if kind == "{":
            inside = {key: _kind(stream.value()) for key in stream.names()}
            outline[name] = _ROW if {"lattice", "sites", *STRUCTURES, *ENTRIES} & inside.keys() else inside
        elif kind == "[":
            outline[name] = [_kind(stream.value()) for _ in stream.elements()]
        else:
            outline[name] = stream.value()
    return outline


def _kind(value: Any) -> Any:
    return type(value) if isinstance(value, dict | list) else value


def _rows(stream: JsonStream, outline: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The one object, or the rows of a table: pandas' by columns, split, with a schema; or objects by their ids."""
    known = [name for name in (*STRUCTURES, *ENTRIES) if name in outline]
    if "lattice" in outline or any(outline[name] is _ROW for name in known):
        yield stream.value()
    elif isinstance(outline.get("data"), list) and outline["data"] and outline["data"][0] in (list, dict):
        yield from _data_rows(stream, outline.get("columns") or [], outline.get("index") or [])
    elif len(known) > 1:
        raise InputError(f"holds several columns of structures ({', '.join(known)}); keep the one that is meant")
    elif known and isinstance(outline[known[0]], dict):
        others = {name: column for name, column in outline.items() if isinstance(column, dict) and name != known[0]}
        for name in stream.names():
            for key in stream.names() if stream.next_character() == "{" else _passed_over(stream):
                value = stream.value()
                if name == known[0]:
                    plain = {other: column.get(key) for other, column in others.items()}
                    yield {"index": key, name: value, **plain}
    elif outline and all(inside is _ROW for inside in outline.values()):
        for key in stream.names():
            row = stream.value()
            yield {"index": key, **({"structure": row} if "lattice" in row else row)}
    else:
        yield stream.value()


def _passed_over(stream: JsonStream) -> Iterator[str]:
    stream.value()
    yield from ()


def _data_rows(stream: JsonStream, columns: list[Any], index: list[Any]) -> Iterator[dict[str, Any]]:
    for name in stream.names():
        if name != "data":
            stream.value()
            continue
        for row, _ in enumerate(stream.elements()):
            found = stream.value()
            if isinstance(found, list):
                found = dict(zip(columns, found, strict=False))
            yield {"index": index[row] if row < len(index) else row, **_object(found)}


def name_of(item: dict[str, Any], default: str) -> str:
    """The id of a row, by default `default`."""
    ids = (item.get(key) for key in _IDS)
    return next((str(one) for one in ids if isinstance(one, str | int | float | np.integer) and one != ""), default)


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
