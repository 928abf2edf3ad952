"""Ions that are inserted into hosts."""

from __future__ import annotations

from inpaint_hpc.errors import InputError

# The charge with which an ion is inserted, in elementary charges.
ION_CHARGES = {3: 1, 11: 1, 19: 1, 37: 1, 55: 1, 12: 2, 20: 2, 38: 2, 56: 2, 30: 2, 13: 3}


def ion_charge(number: int) -> int:
    """Charge of the ion of an element, in elementary charges.

    Raises:
        InputError: the element is in no table of intercalating ions; state the charge.
    """
    if number not in ION_CHARGES:
        raise InputError(f"the charge of the ion with atomic number {number} is not known; state it")
    return ION_CHARGES[number]
