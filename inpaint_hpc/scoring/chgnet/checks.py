"""Finds crystals that CHGNet cannot evaluate, before one of them spoils a batch."""

from __future__ import annotations

import torch
from ase.data import chemical_symbols

from inpaint_hpc.crystals.batch import Crystals

from .graph import ChgnetGraph
from .network import ChgnetNetwork

# A, closer than any two atoms of a solid (H-H 0.74 A).  CHGNet never saw such pairs and may call them favourable.
CLOSEST_APPROACH = 0.5
# A^3, a tenth of diamond's: the graph of a collapsed cell would fill any memory.
LEAST_VOLUME_PER_ATOM = 0.5
# Periodic images of a cell within the cutoff; a primitive cell of 2.5 A has a few hundred.
_MOST_IMAGES = 1_000_000
_MOST_IMAGES_AND_ATOMS = 20_000_000


def crystal_errors(crystals: Crystals, network: ChgnetNetwork) -> list[str]:
    """For each crystal, why it cannot have a graph, one line; '' if it can."""
    n, counts, cells = len(crystals), crystals.counts, crystals.cells.double()
    errors = [""] * n

    def mark(bad: torch.Tensor, message: str) -> None:
        if bool(bad.any()):
            for index in torch.nonzero(bad)[:, 0].tolist():
                errors[index] = errors[index] or message

    def crystals_of(bad_atoms: torch.Tensor) -> torch.Tensor:
        return torch.bincount(crystals.crystal[bad_atoms], minlength=n) > 0

    mark(counts == 0, "it has no atoms")
    finite = torch.isfinite(cells).flatten(1).all(1) & ~crystals_of(~torch.isfinite(crystals.positions).all(1))
    mark(~finite, "a coordinate or cell vector is not a finite number")
    unknown = (crystals.numbers < 1) | (crystals.numbers > network.n_elements)
    if bool(unknown.any()):
        for index, number in zip(crystals.crystal[unknown].tolist(), crystals.numbers[unknown].tolist(), strict=True):
            errors[index] = errors[index] or f"CHGNet does not know {_symbol(number)} (atomic number {number})"
    cells = torch.where(finite[:, None, None], cells, torch.eye(3, dtype=cells.dtype, device=cells.device))
    volumes = torch.linalg.det(cells).abs()
    collapsed = finite & (volumes < LEAST_VOLUME_PER_ATOM * counts)
    mark(collapsed, f"its cell has collapsed: less than {LEAST_VOLUME_PER_ATOM} A^3 per atom")
    inverse, _ = torch.linalg.inv_ex(cells)
    extent = torch.floor(network.atom_cutoff * inverse.norm(dim=1) + 0.5)
    images = (2 * extent + 1).prod(1)
    degenerate = finite & ~collapsed & ~((images < _MOST_IMAGES) & (images * counts < _MOST_IMAGES_AND_ATOMS))
    mark(degenerate, "its cell is degenerate: almost parallel cell vectors, or a very short one")
    return errors


def graph_errors(graph: ChgnetGraph, cutoff: float) -> list[str]:
    """For each crystal of a graph, what makes its evaluation meaningless, one line; '' if nothing does."""
    errors = [""] * graph.n_crystals
    shortest = graph.shortest_bonds()
    close = shortest < CLOSEST_APPROACH
    if bool(close.any()):
        for index in torch.nonzero(close)[:, 0].tolist():
            errors[index] = f"two atoms are {float(shortest[index]):.2f} A apart, less than {CLOSEST_APPROACH} A"
    isolated = graph.neighbor_counts() == 0
    if bool(isolated.any()):
        for index, number in zip(graph.crystal[isolated].tolist(), graph.numbers[isolated].tolist(), strict=True):
            errors[index] = errors[index] or f"an isolated atom of {_symbol(number)}: no neighbour within {cutoff:g} A"
    return errors


def _symbol(number: int) -> str:
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else "an element"
