"""Average voltages of insertion electrodes whose guests the model has placed, against those of the Materials Project.

For each pair the guests are placed in the empty host as it relaxed without them, the best placement is relaxed with
everything free to move, and its voltage follows from the energies of both relaxed members and of the metal.  For
comparison: the same with the true discharged structure instead of the placed one, the best that CHGNet can do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.analysis.intercalation import average_voltage, volume_change
from inpaint_hpc.analysis.metal_references import metal_energy
from inpaint_hpc.crystals.ions import ion_charge
from inpaint_hpc.crystals.packed import ElectrodePair, hash_order
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
from inpaint_hpc.scoring.relaxation.relax import Relaxation, RelaxSettings, relax

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.sampling.strategies import Network


@dataclass(frozen=True)
class VoltageProtocol:
    """Settings for each pair.

    Attributes:
        samples: placements drawn for each pair.
        top_k: placements whose guests are relaxed in the frozen host; the best of these is relaxed completely.
        fmax: of the complete relaxations, eV/A; guests are relaxed to 0.05 eV/A.
        max_steps: of each relaxation.
        chgnet: CHGNet weights.
        seed: of sampling.
    """

    samples: int = 16
    top_k: int = 3
    fmax: float = 0.05
    max_steps: int = 300
    chgnet: str = DEFAULT_WEIGHTS
    seed: int = 0


def choose_pairs(pairs: Iterable[ElectrodePair], max_atoms: int | None = 40) -> list[ElectrodePair]:
    """Recommended pairs of at most `max_atoms` atoms (discharged), in the order of the sha256 of their names.

    The first n of them are a random subset that does not depend on the rest of the file.
    """
    chosen = [
        pair
        for pair in pairs
        if int(pair.info.get("recommended", 1)) and (max_atoms is None or len(pair.reference) <= max_atoms)
    ]
    return hash_order(chosen)


def pair_voltage(
    network: Network, pair: ElectrodePair, protocol: VoltageProtocol, device: torch.device | str | None = None
) -> dict[str, Any]:
    """One row of the table: plain values.

    Returns:
        `name`, `ion` (atomic number), `guests`, `atoms` (discharged), `reported` (V, Materials Project), `placed` and
        `true` (V; None where a relaxation diverged or no sample was possible), `converged` (of host, placed, true),
        `above_true_eV_per_atom` (energy of the placed above that of the true structure, both relaxed),
        `volume_change_percent` and `reported_volume_change_percent`, `candidates`, `error`, `seconds`.
    """
    start = time.perf_counter()
    whole = partial(relax, settings=RelaxSettings("cell", protocol.fmax, protocol.max_steps), model=protocol.chgnet)
    host, true = whole([pair.host, pair.reference], device=device)
    found = inpaint(
        network,
        pair.host,
        {pair.guest_z: pair.n_guest},
        protocol.samples,
        seed=protocol.seed,
        relax="guests",
        top_k=protocol.top_k,
        relax_steps=protocol.max_steps,
        chgnet=protocol.chgnet,
        device=device,
    )
    usable = [c for c in found.candidates if c.ranking_energy is not None and not c.error]
    placed = whole([found.crystal(usable[0].rank)], device=device)[0] if usable else None
    metal, charge = metal_energy(pair.guest_z, protocol.chgnet, device), ion_charge(pair.guest_z)

    def voltage(filled: Relaxation | None) -> float | None:
        if filled is None or filled.diverged or host.diverged:
            return None
        energy, host_energy = (r.energy_per_atom * len(r.crystal) for r in (filled, host))
        return float(average_voltage(energy, host_energy, pair.n_guest, metal, charge))

    members = {"host": host, "placed": placed, "true": true}
    above = None if placed is None else placed.energy_per_atom - true.energy_per_atom
    change = None if placed is None else volume_change(placed.crystal.volume, host.crystal.volume)
    return {
        "name": pair.name,
        "ion": pair.guest_z,
        "guests": pair.n_guest,
        "atoms": len(pair.reference),
        "reported": float(pair.info["average_voltage"]),
        "placed": voltage(placed),
        "true": voltage(true),
        "converged": {name: r is not None and r.converged for name, r in members.items()},
        "above_true_eV_per_atom": _finite(above),
        "volume_change_percent": _finite(change),
        "reported_volume_change_percent": float(pair.info["volume_change_percent"]),
        "candidates": len(found),
        "error": "; ".join(r.reason for r in members.values() if r is not None and r.diverged),
        "seconds": time.perf_counter() - start,
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def voltage_errors(rows: Sequence[Mapping[str, Any]], which: str, resamples: int = 5000, seed: int = 0) -> dict:
    """Mean absolute error and mean error of voltages against the reported ones, V, with 95 % bootstrap intervals.

    Args:
        rows: of `pair_voltage`; those without this voltage are left out and counted.
        which: 'placed' or 'true'.
        resamples, seed: of the bootstrap over pairs.

    Returns:
        `pairs`, `missing`, `mae`, `mae_low`, `mae_high`, `mean`, `mean_low`, `mean_high`, `median`; None without pairs.
    """
    errors = np.array([row[which] - row["reported"] for row in rows if row[which] is not None])
    found: dict[str, Any] = {"pairs": len(errors), "missing": len(rows) - len(errors)}
    if not len(errors):
        return found | {"mae": None}
    draws = np.random.default_rng(seed).integers(len(errors), size=(resamples, len(errors)))
    for name, values in (("mae", np.abs(errors)), ("mean", errors)):
        low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
        found |= {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
    return found | {"median": float(np.median(np.abs(errors)))}
