"""Where an answer is outside of what the weights and their calibration know: empty space, elements nobody taught.

Each gets one note, and there is no confidence then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sampling.empty_space import VOID, has_void
from inpaint_hpc.scoring.chgnet.elements import UNTAUGHT


def limit_notes(
    network: Any, host: Crystal, guests: Iterable[int], chgnet: str | None = None, void: bool | None = None
) -> list[str]:
    """What a user should know of a host and its guests, one line for each limit that they are beyond.

    Args:
        network: the score network; the card of its weights says which elements they were trained on.
        host: the host, without atoms for all-atom generation.
        guests: atomic numbers of the guests.
        chgnet: weights of CHGNet that are used; None for none.
        void: whether the host has empty space; None finds out.
    """
    notes = []
    if has_void(host) if void is None else void:
        notes.append(
            f"the host has empty space (a sphere of {VOID:g} A without atoms): slabs, layers and molecules in vacuum "
            "are outside of what the weights and their calibration know; no confidence is given"
        )
    untaught = untaught_elements(network, host, guests, chgnet)
    if untaught:
        teachers = "; ".join(f"{', '.join(symbols)} in that of {model}" for model, symbols in untaught.items())
        notes.append(f"elements without training data: {teachers}; positions or energies with them are guesses, and no "
                     "confidence is given")  # fmt: skip
    return notes


def untaught_elements(network: Any, host: Crystal, guests: Iterable[int], chgnet: str | None) -> dict[str, list[str]]:
    """Model -> symbols of the elements of host and guests that it was not trained on; only models that have any."""
    from ase.data import chemical_symbols

    present = sorted({*host.numbers.tolist(), *guests})
    symbols = [chemical_symbols[z] for z in present]
    info = getattr(network, "info", None)
    # Cards of weights that were exported by earlier versions do not say.
    taught = None if info is None else info.card.get("elements")
    unknown = {"the score network": [] if taught is None else [symbol for symbol in symbols if symbol not in taught]}
    if chgnet is not None:
        absent = UNTAUGHT.get(chgnet, frozenset())
        unknown[f"CHGNet {chgnet}"] = [symbol for z, symbol in zip(present, symbols, strict=True) if z in absent]
    return {model: found for model, found in unknown.items() if found}
