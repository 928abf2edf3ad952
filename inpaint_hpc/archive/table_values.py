"""What the tables of an archive are made of: columns to show, ragged values cut into rows, labels and formulas."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .schema import ROW, TABLES, is_offsets

if TYPE_CHECKING:
    import h5py


def table_columns(table: str, group: h5py.Group) -> list[str]:
    """Columns of one number or text per entry, or per guest, in the schema's order."""
    return [
        name
        for name, what in TABLES[table].items()
        if name in group and not is_offsets(table, name) and what.per in (ROW, "guest_offsets") and what.tail != (3, 3)
    ]


def split(values: np.ndarray, counts: np.ndarray, make: Any) -> np.ndarray:
    """`values` cut into pieces of `counts` rows, as objects."""
    pieces = np.empty(len(counts), dtype=object)
    ends = np.cumsum(counts)
    for i, (count, end) in enumerate(zip(counts.tolist(), ends.tolist(), strict=True)):
        piece = values[end - count : end]
        pieces[i] = make(piece.tolist()) if make else piece
    return pieces


def guest_labels(guests: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Guests as on the command line, e.g. 'Li=4 Na=1'."""
    from ase.data import chemical_symbols

    known: dict[bytes, str] = {}
    found = []
    content, bounds = guests.tobytes(), offsets.tolist()
    for start, stop in pairwise(bounds):
        key = content[start:stop]
        if key not in known:
            known[key] = " ".join(f"{chemical_symbols[z]}={n}" for z, n in sorted(Counter(key).items()))
        found.append(known[key])
    return found


def formula_of(numbers: np.ndarray) -> str:
    """As `Crystal.formula`, e.g. 'Mn4 O8', without building a composition for each host."""
    counts = sorted((_electronegativity(z), n) for z, n in Counter(numbers.tolist()).items())
    return " ".join(f"{symbol}{n}" for (_, symbol), n in counts)


@cache
def _electronegativity(z: int) -> tuple[float, str]:
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have none
        element = Element.from_Z(z)
        return (np.nan_to_num(element.X, nan=np.inf), element.symbol)
