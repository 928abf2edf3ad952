"""Number of CHGNet energies that a search for several guests may compute."""

from __future__ import annotations

FEW_GUESTS = 4
MOST = 16.0  # times the budget of few guests


def evaluation_budget(evaluations: int, n_guests: int) -> int:
    """Energies for this number of guests: `evaluations` for up to four, growing with the cube of the number beyond, up
    to sixteen times as many.

    Orderings multiply with the number of guests; a budget in mere proportion would find ever fewer of the low ones.
    """
    return round(evaluations * min(MOST, max(1.0, n_guests / FEW_GUESTS) ** 3))
