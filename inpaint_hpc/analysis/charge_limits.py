"""How many ions a host can take by charge: each electron that comes with them reduces one of its transition metals.

This is the limit beside the geometric one, of distances between sites.  It is a count, not a prediction: long before
it, the voltage may be too low or the host may fall apart (conversion).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.ions import ION_CHARGES
from inpaint_hpc.sampling.minimum_image import PeriodicCell

from .capacity import filled_formula, guests_per_formula

# Lowest and highest common oxidation states in oxides, halides, chalcogenides and polyanionic compounds.  The lowest of
# early metals are those of their intercalation compounds, such as LiTiS2, Li4V2O5, LiMoS2, not those of TiO or VO.
STATES = {
    **{"Ti": (3, 4), "V": (3, 5), "Cr": (3, 6), "Mn": (2, 4), "Fe": (2, 4), "Co": (2, 4), "Ni": (2, 4), "Cu": (1, 3)},
    **{"Zr": (3, 4), "Nb": (3, 5), "Mo": (3, 6), "Ru": (3, 6), "Rh": (3, 4), "Pd": (2, 4)},
    **{"Hf": (3, 4), "Ta": (3, 5), "W": (4, 6), "Re": (4, 7), "Os": (4, 8), "Ir": (3, 6), "Pt": (2, 4)},
}
ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I")
# Nonmetals with bonds to themselves have other states than alone.
_BONDED = 1.2  # times the sum of the covalent radii
# Carbon with such a neighbour belongs to a cyanide or carbonate, otherwise to a carbide or an organic molecule.
_CARBON_BOND = 1.5  # A


@dataclass(frozen=True)
class ChargeLimit:
    """The host with its metals reduced so far.

    Attributes:
        states: oxidation state of each metal that is reduced.
        guests: per host cell, beyond those that it holds already; may be a fraction.
        x: guests per formula unit, those that the host holds already included.
        formula: of the filled host, e.g. 'Li0.5MnO2'.
    """

    states: dict[str, int]
    guests: float
    x: float
    formula: str


@dataclass(frozen=True)
class ChargeLimits:
    """Limits by charge of one ion in one host.

    Attributes:
        states: mean oxidation state of each element of the host; empty where they cannot be assigned.
        limits: fewest guests first; empty without any.
        reason: why there are none; '' otherwise.
    """

    states: dict[str, float]
    limits: tuple[ChargeLimit, ...]
    reason: str = ""

    def sentence(self, symbol: str) -> str:
        """For a line of text, e.g. 'Mn to +3: 4 Li (x = 1, LiMnO2); Mn to +2: 8 Li (x = 2, Li2MnO2)'."""
        return self.reason or "; ".join(
            f"{', '.join(f'{metal} to {state:+d}' for metal, state in one.states.items())}: {one.guests:g} {symbol} "
            f"(x = {one.x:.3g}, {one.formula})"
            for one in self.limits
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `limits` is null where there are none, with the reason."""
        limits = [
            {"states": one.states, "guests": one.guests, "x": one.x, "formula": one.formula} for one in self.limits
        ]
        return {"oxidation_states": self.states or None, "limits": limits or None, "reason": self.reason or None}


def charge_limits(host: Crystal, guest: int, charge: float | None = None) -> ChargeLimits:
    """Numbers of guests at which the host's transition metals reach their lower common oxidation states.

    One metal goes down in whole steps; of several, only the sum is known, and there is one limit, all of them at their
    lowest state.

    Args:
        host: the host without the guests to be added.
        guest: atomic number.
        charge: of the ion; None takes the usual one.
    """
    from pymatgen.core import Composition, Element

    charge = ION_CHARGES.get(guest) if charge is None else charge
    if charge is None or charge <= 0:
        return ChargeLimits({}, (), "the charge of the ion is not known")
    states, reason = oxidation_states(host)
    if reason:
        return ChargeLimits(states, (), reason)
    amounts = Composition(host.formula).get_el_amt_dict()
    metals = {symbol: int(amounts[symbol]) for symbol in states if symbol in STATES}
    symbol = Element.from_Z(guest).symbol
    if not metals:
        return ChargeLimits(states, (), "the host has no transition metal that could be reduced")

    def limit(targets: dict[str, int]) -> ChargeLimit:
        guests = round(sum(metals[m] * (states[m] - t) for m, t in targets.items()) / charge, 6)
        x = guests_per_formula(host.formula, symbol, guests)
        return ChargeLimit(targets, guests, x, filled_formula(host.formula, symbol, guests))

    lowest = {metal: STATES[metal][0] for metal in metals}
    if len(metals) == 1:
        ((metal, low),) = lowest.items()
        steps = [{metal: state} for state in range(int(np.ceil(states[metal] - 1e-6)) - 1, low - 1, -1)]
    else:
        steps = [lowest]
    limits = tuple(one for one in map(limit, steps) if one.guests > 1e-6)
    names = ", ".join(f"{metal} ({states[metal]:+.3g})" for metal in metals)
    return ChargeLimits(states, limits, "" if limits else f"{names}: at the lowest common oxidation state already")


def oxidation_states(host: Crystal) -> tuple[dict[str, float], str]:
    """Mean oxidation state of each element by charge balance, or why there are none.

    pymatgen's `Composition.oxi_state_guesses` balances the charges, with the states of anions, polyanions and cyanide
    given, so that what is left is the transition metals'.  A single metal may have a mean state between two whole
    numbers, as in LiMn2O4; in anything else fractions mean that the picture of ions does not fit.
    """
    from pymatgen.core import Composition

    composition = Composition(host.formula).reduced_composition
    present = {element.symbol for element in composition.elements}
    if not present & set(ANIONS):
        return {}, "the host has no anions: an intermetallic compound, an element or a carbide has no oxidation states"
    bonds = _bonds_between_nonmetals(host)
    for symbol in ("S", "Se", "Te", "O", "P", "N", "C", "Cl", "Br", "I"):
        if (symbol, symbol) in bonds:
            return {}, f"{symbol}-{symbol} bonds: oxidation states cannot be assigned"
    known = {symbol: list(range(1, STATES[symbol][1] + 1)) for symbol in present & set(STATES)}
    known |= {s: [n] for s, n in (("O", -2), ("F", -1)) if s in present}
    oxidized = bool(present & {"O", "F"})
    known |= {s: [-2] for s in present & {"S", "Se", "Te"} if not oxidized}
    known |= {s: [-1] for s in present & {"Cl", "Br", "I"} if (s, "O") not in bonds}
    if "P" in present and present & {"O", "S"}:
        known["P"] = [5]
    if "C" in present:
        # Both atoms of cyanide with charges that add up to -1.
        if ("C", "N") in bonds:
            known |= {"C": [2], "N": [-3]}
        elif ("C", "O") in bonds:
            known["C"] = [4]
        else:
            return {}, "carbon that is neither cyanide nor carbonate: oxidation states cannot be assigned"
    guesses = composition.oxi_state_guesses(oxi_states_override=known)
    if not guesses:
        return {}, "the charges of common oxidation states do not balance"
    states = {symbol: round(float(state), 6) for symbol, state in guesses[0].items()}
    odd = [s for s, state in states.items() if s not in STATES and abs(state - round(state)) > 1e-6]
    if odd:
        return {}, f"{', '.join(odd)}: fractional oxidation states"
    return states, ""


def _bonds_between_nonmetals(host: Crystal) -> set[tuple[str, str]]:
    """Pairs of nonmetals that are bonded to each other, in alphabetical order."""
    from ase.data import chemical_symbols, covalent_radii
    from pymatgen.core import Element

    rows = [k for k, z in enumerate(host.numbers.tolist()) if _nonmetal(Element.from_Z(z))]
    numbers, cell = host.numbers[rows], PeriodicCell(host.lattice)
    distances = cell.distances(host.frac_coords[rows], host.frac_coords[rows])
    np.fill_diagonal(distances, cell.shortest)
    near = distances < _BONDED * (covalent_radii[numbers][:, None] + covalent_radii[numbers])
    carbon = numbers == 6
    near &= (distances < _CARBON_BOND) | ~(carbon[:, None] ^ carbon)
    names = [chemical_symbols[z] for z in numbers]
    return {(min(a, b), max(a, b)) for a, b in ((names[i], names[j]) for i, j in np.argwhere(near))}


def _nonmetal(element: Any) -> bool:
    return element.symbol in (*ANIONS, "P", "C")
