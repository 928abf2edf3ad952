"""Which metals the guests reduced: oxidation states from CHGNet's magnetic moments, where these tell them apart.

As B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), do for manganese.  Of other metals only those whose moments by
CHGNet separate in known insertion compounds (docs/energetics.md): those of Co and Ni do not, and Fe(IV) has that of
Fe(II).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from inpaint_hpc.crystals.batch import Crystal

from .charge_limits import oxidation_states

# Bohr magnetons, from ... to, of each oxidation state.
MOMENTS = {
    "V": {5: (0.0, 0.4), 4: (0.7, 1.5), 3: (1.6, 2.3), 2: (2.4, 3.0)},
    "Mn": {4: (2.7, 3.5), 3: (3.6, 4.3), 2: (4.4, 5.0)},
    "Fe": {3: (4.15, 4.7), 2: (3.6, 4.1)},
}


def metal_states(crystals: Sequence[Crystal], chgnet: str, device: Any = None) -> list[dict[str, dict[int, int]]]:
    """Metal -> oxidation state -> number of its atoms, for each crystal, with energies at rest.

    Empty where a moment is between two states, where a metal's moments do not tell, and where the states do not add up
    to the charge balance of the crystal: then one of the two is wrong.

    Args:
        crystals: relaxed, guests included.
        chgnet: weights.
        device: torch device.
    """
    from inpaint_hpc.scoring.chgnet.batch import evaluate

    if not crystals:
        return []
    found = evaluate(list(crystals), model=chgnet, device=device, what="em")
    assert found.magmoms is not None
    moments = found.magmoms.cpu().numpy()
    return [states_of(crystal, moments[found.atoms(k)]) for k, crystal in enumerate(crystals)]


def states_of(crystal: Crystal, moments: np.ndarray) -> dict[str, dict[int, int]]:
    """The states of one crystal from the moments of its atoms (n,), Bohr magnetons; see `metal_states`."""
    balanced, _ = oxidation_states(crystal)
    states: dict[str, dict[int, int]] = {}
    for metal, ranges in MOMENTS.items():
        of_metal = moments[crystal.numbers == chemical_symbols.index(metal)]
        if metal not in balanced or not len(of_metal):
            continue
        told = [next((q for q, (low, high) in ranges.items() if low <= m <= high), None) for m in of_metal]
        known = [q for q in told if q is not None]
        if len(known) == len(told) and abs(float(np.mean(known)) - balanced[metal]) < 1e-3:
            states[metal] = dict(sorted(Counter(known).items()))
    return states


def words(states: Mapping[str, Mapping[Any, int]]) -> str:
    """{'Mn': {3: 1, 4: 3}} -> 'Mn3+, Mn4+ x3'."""
    return ", ".join(
        f"{metal}{q}+" + (f" x{count}" if count > 1 else "")
        for metal, one in states.items()
        for q, count in one.items()
    )
