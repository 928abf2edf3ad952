"""What a number of guests is in x, mAh/g and Wh/kg."""

from __future__ import annotations

FARADAY = 96485.33212  # C/mol


def formula_units(formula: str, guest: str) -> tuple[str, float, float]:
    """The host without the guest's element in a formula unit: 'Mn4 O8' -> ('MnO2', 4, 0).

    Args:
        formula: of the host cell.
        guest: symbol of the guest.

    Returns:
        The formula unit, how many of them the cell holds, and how many atoms of the guest's element it holds already.
        The formula is '' and the number 1 where the host is all guest or its formula is not known.
    """
    from pymatgen.core import Composition

    amounts = Composition(formula).get_el_amt_dict() if formula else {}
    present = amounts.pop(guest, 0.0)
    if not amounts:
        return "", 1.0, present
    unit, units = Composition(amounts).get_reduced_formula_and_factor()
    return unit, float(units), present


def guests_per_formula(formula: str, guest: str, count: float) -> float:
    """x of the filled host: guests per formula unit, those that the host holds already included."""
    _, units, present = formula_units(formula, guest)
    return (present + count) / units


def filled_formula(formula: str, guest: str, count: float) -> str:
    """The filled host, e.g. 'Li0.5MnO2'; '' where the host's formula is not known."""
    unit, _, _ = formula_units(formula, guest)
    x = guests_per_formula(formula, guest, count)
    return f"{guest}{'' if abs(x - 1) < 1e-9 else f'{x:.3g}'}{unit}" if unit else ""


def milliampere_hours_per_gram(formula: str, guest: str, count: float, charge: float, filled: bool) -> float | None:
    """Specific capacity of a number of guests; None where the host's formula is not known.

    Args:
        formula: of the host cell.
        guest: symbol of the guest.
        count: guests per host cell.
        charge: of the ion, in elementary charges.
        filled: by the mass of the host with these guests, else of the host without them.
    """
    if not formula:
        return None
    from pymatgen.core import Composition, Element

    mass = float(Composition(formula).weight) + (count * float(Element(guest).atomic_mass) if filled else 0.0)
    return FARADAY / 3.6 * charge * count / mass
