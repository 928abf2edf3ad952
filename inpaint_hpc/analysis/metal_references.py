"""Energies of the reference metals of voltages, by the same CHGNet as everything else.

Structures are those of `ase.data.reference_states` (bcc Li Na K Rb Cs Ba, fcc Ca Sr Al, hcp Mg Zn; lattice constants
after N. W. Ashcroft and N. D. Mermin, Solid State Physics, 1976), with positions and cell relaxed by the model.  If
that changes the volume by more than 15 % (a spurious minimum of the model: Li and Na with 0.2.0, Cs with r2scan), the
energy is that of the tabulated structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
from inpaint_hpc.scoring.chgnet.network import ChgnetNetwork
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

if TYPE_CHECKING:
    import torch
    from chgnet.model.model import CHGNet

# eV per atom, by `compute_metal_energy` with chgnet 0.4.2; a test computes them again.
METAL_ENERGIES: dict[str, dict[int, float]] = {
    "0.3.0": {
        3: -1.88035,
        11: -1.28905,
        19: -1.08688,
        37: -0.93935,
        55: -0.85069,
        12: -1.59633,
        20: -1.97027,
        38: -1.66549,
        56: -1.88303,
        30: -1.26314,
        13: -3.66436,
    },
    # No caesium: its atoms are farther apart than the cutoff.
    "0.2.0": {
        3: -1.70753,
        11: -1.04805,
        19: -1.04340,
        37: -0.91752,
        12: -1.45096,
        20: -1.98715,
        38: -1.73205,
        56: -1.92512,
        30: -1.24071,
        13: -3.66598,
    },
    "r2scan": {
        3: -2.38443,
        11: -3.55187,
        19: -6.00037,
        37: -13.90990,
        55: -25.07056,
        12: -4.14083,
        20: -7.02021,
        38: -15.10871,
        56: -26.42919,
        30: -8.91099,
        13: -6.68052,
    },
}
LARGEST_VOLUME_CHANGE = 0.15


def metal_energy(
    number: int, model: str | CHGNet | ChgnetNetwork = DEFAULT_WEIGHTS, device: torch.device | str | None = None
) -> float:
    """Energy per atom of the metal of an element, eV, from the table or computed.

    Raises:
        InputError: as `compute_metal_energy`, or as `load_network`.
    """
    known = METAL_ENERGIES.get(model, {}) if isinstance(model, str) else {}
    return known[number] if number in known else compute_metal_energy(number, model, device)


def compute_metal_energy(
    number: int, model: str | CHGNet | ChgnetNetwork = DEFAULT_WEIGHTS, device: torch.device | str | None = None
) -> float:
    """As `metal_energy`, always computed.

    Raises:
        InputError: the element has no simple metal structure, or the model cannot evaluate it.
    """
    metal = metal_crystal(number)
    relaxed = relax(
        [metal], settings=RelaxSettings("cell", fmax=1e-3, max_stress=0.02, max_steps=2000), model=model, device=device
    )[0]
    if relaxed.diverged:
        raise InputError(f"no energy of metallic {metal.name} by this CHGNet: {relaxed.reason}")
    if abs(relaxed.crystal.volume / metal.volume - 1) > LARGEST_VOLUME_CHANGE:
        return relaxed.energy_per_atom_before
    return relaxed.energy_per_atom


def metal_crystal(number: int) -> Crystal:
    """The primitive cell of a metal as tabulated in `ase.data.reference_states`.

    Raises:
        InputError: not bcc, fcc or hcp, or no element.
    """
    from ase.build import bulk
    from ase.data import chemical_symbols, reference_states

    state = reference_states[number] if 0 < number < len(reference_states) else None
    if state is None or state["symmetry"] not in ("bcc", "fcc", "hcp"):
        raise InputError(f"no simple metal structure is known of the element with atomic number {number}")
    atoms = bulk(chemical_symbols[number])
    return Crystal(atoms.numbers, atoms.get_scaled_positions(), atoms.cell[:], chemical_symbols[number])
