"""How many CHGNet energies a search for several guests may spend."""

from __future__ import annotations

FEW_GUESTS = 4
MOST = 4  # times the budget of few guests


def evaluation_budget(evaluations: int, n_guests: int) -> int:
    """Energies for so many guests: `evaluations` for up to four, in proportion for more, at most four times as many.

    Orderings multiply with the guests, and twelve energies for each guest keep up with the sizes that cells have.
    """
    return round(evaluations * min(MOST, max(1.0, n_guests / FEW_GUESTS)))
