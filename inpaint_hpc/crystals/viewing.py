"""A crystal to turn with the mouse in a notebook, where py3Dmol is installed."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from inpaint_hpc.errors import InputError

from .batch import Crystal


def view_crystal(crystal: Crystal, guests: int = 0, size: tuple[int, int] = (480, 400)) -> Any:
    """A `py3Dmol.view` of a cell: guests as large balls, the other atoms as small ones, and the edges of the cell.

    Args:
        crystal: host first, as `InpaintResult.crystal` and `Archive.crystal` give it.
        guests: how many of its last atoms are guests.
        size: width and height in pixels.

    Raises:
        InputError: py3Dmol is not installed.
    """
    try:
        import py3Dmol
    except ImportError as error:
        raise InputError("a view in 3D needs py3Dmol: `pip install py3Dmol`; `structure()` has the atoms") from error
    from ase.data import chemical_symbols

    lines = [str(len(crystal)), ""]
    for number, (x, y, z) in zip(crystal.numbers.tolist(), crystal.positions.tolist(), strict=True):
        lines.append(f"{chemical_symbols[number]} {x:.6f} {y:.6f} {z:.6f}")
    view = py3Dmol.view(width=size[0], height=size[1])
    view.addModel("\n".join(lines), "xyz")
    view.setStyle({"sphere": {"scale": 0.25, "colorscheme": "Jmol"}})
    if guests:
        last = list(range(len(crystal) - guests, len(crystal)))
        view.setStyle({"index": last}, {"sphere": {"scale": 0.45, "colorscheme": "Jmol"}})
    for start, stop in _edges(crystal.lattice):
        ends = [dict(zip("xyz", end.tolist(), strict=True)) for end in (start, stop)]
        view.addLine({"start": ends[0], "end": ends[1], "color": "black"})
    view.zoomTo()
    return view


def _edges(lattice: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The twelve edges of a cell, each from corner to corner, A."""
    corners = [np.array(corner) for corner in product((0, 1), repeat=3)]
    return [(a @ lattice, b @ lattice) for a in corners for b in corners if (b - a).sum() == 1 and (b >= a).all()]
