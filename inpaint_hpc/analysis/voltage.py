"""Intercalation energies, voltages and volume changes of hosts from structures; of archives: archive_voltage.py.

Energies of host, filled hosts and metal come from one potential and one treatment: if the guests were relaxed in the
frozen host, the host is used unrelaxed; if everything was relaxed, so is the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.ions import ion_charge
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

from .capacity import filled_formula, guests_per_formula, milliampere_hours_per_gram
from .charge_limits import ChargeLimits, charge_limits
from .intercalation import (
    IntercalationHull,
    VoltageStep,
    average_voltage,
    intercalation_energy,
    intercalation_hull,
    voltage_curve,
    volume_change,
)
from .metal_references import metal_energy
from .typical_errors import VoltageError, voltage_error

if TYPE_CHECKING:
    import torch


TREATMENTS = {
    "none": "not relaxed",
    "guests": "guests relaxed in the frozen host",
    "positions": "positions relaxed in the host's cell",
    "cell": "positions and cell relaxed",
}


WHOLE_CELL = RelaxSettings("cell")


@dataclass(frozen=True)
class FilledHost:
    """A host with guests of one element.

    Attributes:
        count: guests per host cell beyond those that the host already contains.
        energy: eV per host cell.
        volume: A^3 per host cell.
        label: task id or name of the structure.
        wyckoff, coordination: of each guest, e.g. '8a' and 'O4'; empty where they are not known.
        spacegroup: of host and guests; None where it is not known.
        states: of its metals where magnetic moments tell them, see `metal_states`.
        departure: how the relaxed structure left the host's framework; '' if it did not, or was not compared.
    """

    count: float
    energy: float
    volume: float
    label: str = ""
    wyckoff: tuple[str, ...] = ()
    coordination: tuple[str, ...] = ()
    spacegroup: str | None = None
    departure: str = ""
    states: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class VoltageProfile:
    """Energies and voltages of intercalating one element into one host.

    Attributes:
        host: its name.
        ion: atomic number of the guest.
        charge: of the ion, in elementary charges.
        metal_energy: of the guest's metal, eV per atom.
        empty: the host, `count` 0.
        filled: by count, then energy.
        hull: over the empty host (entry 0) and the filled ones (entries 1 ...).
        steps: of the voltage curve.
        treatment: a key of `TREATMENTS`.
        chgnet: weights of the potential.
        notes: what a user should know, one line each.
        formula: of the host's cell, e.g. 'Mn4 O8'; '' where it is not known.
        fitting: most guests by the distances between sites, per host cell; None where that was not counted.
        charges: most guests by charge; None where that was not counted.
    """

    host: str
    ion: int
    charge: float
    metal_energy: float
    empty: FilledHost
    filled: tuple[FilledHost, ...]
    hull: IntercalationHull
    steps: tuple[VoltageStep, ...]
    treatment: str
    chgnet: str
    notes: tuple[str, ...] = ()
    formula: str = ""
    fitting: int | None = None
    charges: ChargeLimits | None = None

    @property
    def milliampere_hours_per_gram(self) -> float | None:
        """Capacity of one guest per host cell, by the mass of the host alone; None where its formula is not known."""
        return milliampere_hours_per_gram(self.formula, self.symbol, 1.0, self.charge, filled=False)

    @property
    def error(self) -> VoltageError | None:
        """Typical error of the voltages; None where it was not measured for this ion and treatment."""
        return voltage_error(self.ion, self.treatment, self.chgnet)

    @property
    def symbol(self) -> str:
        """Symbol of the guest."""
        from ase.data import chemical_symbols

        return chemical_symbols[self.ion]

    @property
    def label(self) -> str:
        """The reference of the voltages, e.g. `Li/Li+`."""
        sign = "" if self.charge == 1 else f"{self.charge:g}"
        return f"{self.symbol}/{self.symbol}{sign}+"

    def rows(self) -> list[dict[str, Any]]:
        """One row per filled host; names carry units.

        `intercalation_energy_eV` is per guest, `average_voltage_V` that from the empty host up to here,
        `volume_change_percent` against the empty host, `above_hull_eV` per host cell.  Capacities and energies are from
        the empty host up to here, by the mass of the host without (`host`) and with (`filled`) these guests.
        """
        stable, close = set(self.hull.stable.tolist()), set(within_error(self))
        return [
            {
                "guests": one.count,
                "energy_eV": one.energy,
                "intercalation_energy_eV": intercalation_energy(
                    one.energy, self.empty.energy, one.count, self.metal_energy
                ),
                "average_voltage_V": self._average(one),
                "volume_change_percent": volume_change(one.volume, self.empty.volume),
                "formation_energy_eV": float(self.hull.formation_energies[k]),
                "above_hull_eV": float(self.hull.above_hull[k]),
                "stable": k in stable,
                "label": one.label,
                **self._amounts(0.0, one.count, self._average(one)),
                "within_error": None if self.error is None else k in close,
                "wyckoff": list(one.wyckoff),
                "coordination": list(one.coordination),
                "spacegroup": one.spacegroup,
                "left_framework": one.departure or None,
                "oxidation_states": {metal: {str(q): n for q, n in s.items()} for metal, s in one.states.items()},
            }
            for k, one in enumerate(self.filled, start=1)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON."""
        return {
            "host": self.host,
            "ion": self.symbol,
            "charge": self.charge,
            "against": self.label,
            "treatment": self.treatment,
            "chgnet": self.chgnet,
            "metal_energy_eV_per_atom": self.metal_energy,
            "host_energy_eV": self.empty.energy,
            "host_volume_A3": self.empty.volume,
            "filled": self.rows(),
            "steps": [
                {"from": s.start, "to": s.stop, "voltage_V": s.voltage, **self._amounts(s.start, s.stop, s.voltage)}
                for s in self.steps
            ],
            "notes": list(self.notes),
            "formula": self.formula or None,
            "total": self.total(),
            "voltage_error": None if self.error is None else self.error.as_dict(self.ion),
            "most_by_distance": self.fitting,
            "most_by_charge": None if self.charges is None else self.charges.as_dict(),
            "remarks": remarks(self),
        }

    def total(self) -> dict[str, Any]:
        """As a step, from the empty host to the fullest."""
        last = self.filled[int(self.hull.stable[-1]) - 1]
        voltage = self._average(last)
        return {"from": 0.0, "to": last.count, "voltage_V": voltage, **self._amounts(0.0, last.count, voltage)}

    def _average(self, one: FilledHost) -> float:
        """Average voltage from the empty host."""
        return average_voltage(one.energy, self.empty.energy, one.count, self.metal_energy, self.charge)

    def _amounts(self, start: float, stop: float, voltage: float) -> dict[str, Any]:
        """x and formula at the end, and capacity and energy of the way there; None where the formula is not known."""
        known = bool(self.formula)
        amounts: dict[str, Any] = {
            "x": guests_per_formula(self.formula, self.symbol, stop) if known else None,
            "formula": filled_formula(self.formula, self.symbol, stop) or None,
        }
        for of in ("host", "filled"):
            # The mass of the filled host is that at the end of the way.
            to_here = milliampere_hours_per_gram(self.formula, self.symbol, stop, self.charge, of == "filled")
            capacity = None if to_here is None else to_here * (stop - start) / stop
            amounts[f"capacity_mAh_per_g_{of}"] = capacity
            amounts[f"energy_Wh_per_kg_{of}"] = None if capacity is None else capacity * voltage
        return amounts


def within_error(profile: VoltageProfile) -> list[int]:
    """Entries of the hull between empty and full for which two phases or one cannot be told apart.

    Of each number of guests the lowest entry counts: if it is less above the hull than the typical error, or less deep
    below the line between its neighbours on the hull, per guest.  The shallowest goes first, and its neighbours are
    then compared with those that are left: what is shallow between shallow entries can be deep without them.
    """
    if profile.error is None:
        return []
    limit, (counts, energies) = (
        profile.error.resolution * profile.charge,
        (profile.hull.counts, profile.hull.formation_energies),
    )
    kept, above = profile.hull.stable.tolist(), profile.hull.above_hull
    lowest = {float(counts[k]): k for k in sorted(range(1, len(counts)), key=lambda k: -above[k])}
    close = [k for k in lowest.values() if k not in kept and above[k] / counts[k] < limit]
    while len(kept) > 2:
        depths = [
            (float(np.interp(counts[k], counts[[a, b]], energies[[a, b]]) - energies[k]) / float(counts[k]), k)
            for a, k, b in zip(kept, kept[1:], kept[2:], strict=False)
        ]
        depth, shallowest = min(depths)
        if depth >= limit:
            break
        close.append(shallowest)
        kept.remove(shallowest)
    return sorted(close)


def remarks(profile: VoltageProfile) -> list[str]:
    """What the voltages of a profile mean where they are not simply those of an electrode, one line each."""
    found = [
        f"{step.start:g} to {step.stop:g} {profile.symbol}: the voltage is negative: {profile.symbol} metal would be "
        "plated instead of inserted"
        for step in profile.steps
        if step.voltage < 0
    ]
    stable = set(profile.hull.stable.tolist())
    found += [
        f"{one.count:g} {profile.symbol}: no longer the host's framework ({one.departure}); energy and voltage are of "
        "another structure, not of insertion"
        for k, one in enumerate(profile.filled, start=1)
        if one.departure and (k in stable or k == 1 or one.count != profile.filled[k - 2].count)
    ]
    close = within_error(profile)
    if close and profile.error is not None:
        counts = ", ".join(f"{profile.hull.counts[k]:g}" for k in close)
        found.append(
            f"{counts} {profile.symbol}: two-phase or solid solution: within the error "
            f"({1e3 * profile.error.resolution * profile.charge:.0f} meV per {profile.symbol})"
        )
    return found


def voltage_profile(
    ion: int,
    empty: FilledHost,
    filled: Iterable[FilledHost],
    metal: float,
    charge: float | None = None,
    treatment: str = "cell",
    chgnet: str = DEFAULT_WEIGHTS,
    notes: Sequence[str] = (),
) -> VoltageProfile:
    """Combine the energies of one host; formulas and sources in `inpaint_hpc.analysis.intercalation`.

    Args:
        ion: atomic number of the guest.
        empty: the host; its label is the name of the profile.
        filled: hosts with guests; there may be several of one count.
        metal: energy of the guest's metal, eV per atom, of the same potential.
        charge: of the ion; None takes the usual one.
        treatment, chgnet, notes: as `VoltageProfile`.

    Raises:
        InputError: no filled host, a value that is not finite, or an ion whose charge is not known.
    """
    filled = tuple(sorted(filled, key=lambda one: (one.count, one.energy)))
    charge = ion_charge(ion) if charge is None else charge
    counts, energies = [0.0, *(one.count for one in filled)], [empty.energy, *(one.energy for one in filled)]
    hull = intercalation_hull(counts, energies)
    steps = tuple(voltage_curve(counts, energies, metal, charge))
    return VoltageProfile(empty.label, ion, charge, metal, empty, filled, hull, steps, treatment, chgnet, tuple(notes))


def structure_profile(
    host: Crystal,
    filled: Sequence[Crystal],
    ion: int | None = None,
    settings: RelaxSettings | None = WHOLE_CELL,
    charge: float | None = None,
    chgnet: str = DEFAULT_WEIGHTS,
    device: torch.device | str | None = None,
) -> VoltageProfile:
    """The profile of structures: energies by CHGNet, as they are or relaxed.

    Args:
        host: the empty (or emptiest) host.
        filled: the same framework with more of the ion, in cells of any size.
        ion: atomic number of the guest; None takes the one element that all of `filled` have more of.
        settings: of relaxation in mode 'positions' or 'cell', of the host as well; None takes all as they are.
        charge, chgnet: as `voltage_profile`.
        device: of CHGNet.

    Raises:
        InputError: frameworks that differ, no ion or several, or a structure that CHGNet cannot evaluate.
    """
    treatment = "none" if settings is None else settings.mode
    if treatment == "guests":
        raise InputError("structures are relaxed in positions or cell, or not at all; 'guests' has no meaning here")
    counts = [_count(host, one, ion) for one in filled]
    found = {z for z, _, _ in counts}
    if len(found) != 1:
        raise InputError("the filled structures hold different guests; give those of one element")
    (number,) = found
    energies, volumes, notes = cell_energies([host, *filled], settings, chgnet, device)
    entries = [
        FilledHost(count, energy / cells, volume / cells, one.name)
        for (_, count, cells), energy, volume, one in zip(counts, energies[1:], volumes[1:], filled, strict=True)
    ]
    empty = FilledHost(0.0, energies[0], volumes[0], host.name or host.formula)
    metal = metal_energy(number, chgnet, device)
    profile = voltage_profile(number, empty, entries, metal, charge, treatment, chgnet, notes)
    return replace(profile, formula=host.formula, charges=charge_limits(host, number, profile.charge))


def cell_energies(
    crystals: Sequence[Crystal],
    settings: RelaxSettings | None,
    chgnet: str,
    device: torch.device | str | None,
) -> tuple[list[float], list[float], list[str]]:
    """Energies in eV and volumes in A^3 of cells, and what did not converge."""
    if settings is None:
        result = evaluate(crystals, chgnet, device, "e")
        failed = [(c, error) for c, error in zip(crystals, result.errors, strict=True) if error]
        energies, volumes, notes = result.energies.tolist(), [c.volume for c in crystals], []
    else:
        results = relax(crystals, settings=settings, model=chgnet, device=device)
        failed = [(c, r.reason) for c, r in zip(crystals, results, strict=True) if r.diverged]
        energies = [r.energy_per_atom * len(r.crystal) for r in results]
        volumes = [r.crystal.volume for r in results]
        notes = [f"{c.name}: {r.reason}" for c, r in zip(crystals, results, strict=True) if not r.converged]
    if failed:
        crystal, why = failed[0]
        raise InputError(f"{crystal.name or crystal.formula}: no energy by CHGNet: {why}")
    return energies, volumes, notes


def _count(host: Crystal, filled: Crystal, ion: int | None) -> tuple[int, float, float]:
    """Element and number of guests per host cell, and how many host cells the filled structure is."""
    from ase.data import chemical_symbols

    elements = np.unique(np.concatenate([host.numbers, filled.numbers])).tolist()
    ours, theirs = ({z: int((c.numbers == z).sum()) for z in elements} for c in (host, filled))
    name = filled.name or filled.formula
    for z in [ion] if ion is not None else elements:
        rest = [e for e in elements if e != z]
        ratios = {theirs[e] / ours[e] if ours[e] else np.inf for e in rest}
        if len(ratios) == 1 and np.isfinite(cells := ratios.pop()) and cells > 0:
            count = theirs.get(z, 0) / cells - ours.get(z, 0)
            if count > 1e-9:
                return int(z), count, cells
    guest = f" and {chemical_symbols[ion]}" if ion is not None else ""
    raise InputError(f"{name}: is not {host.name or host.formula}{guest} with more guests of one element")
