"""How many CHGNet energies a search for several guests may spend."""

from __future__ import annotations

FEW_GUESTS = 4
MOST = 16.0  # times the budget of few guests


def evaluation_budget(evaluations: int, n_guests: int) -> int:
    """Energies for so many guests: `evaluations` for up to four, with the cube of their number for more, at most
    sixteen times as many.

    Orderings multiply with the guests: energies in proportion to them find fewer and fewer of the low ones.
    """
    return round(evaluations * min(MOST, max(1.0, n_guests / FEW_GUESTS) ** 3))
