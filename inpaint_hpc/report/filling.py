"""Hulls and voltages of hosts that an archive holds with several numbers of one guest; nothing is computed anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inpaint_hpc.analysis.archive_voltage import lowest_candidate
from inpaint_hpc.analysis.capacity import formula_units
from inpaint_hpc.analysis.charge_limits import charge_limits
from inpaint_hpc.analysis.voltage import FilledHost, voltage_profile
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Provenance
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.ions import ION_CHARGES

from .panels import metal_of

Key = tuple[str, int, str, str]
"""Host id, ion, potential, treatment: energies of others never meet."""


@dataclass
class _Host:
    crystal: Crystal
    energy: float | None = None
    volume: float = 0.0
    filled: list[FilledHost] = field(default_factory=list)


class Fillings:
    """Collects the lowest candidate of each task."""

    def __init__(self) -> None:
        self._keys: list[Key | None] = []
        self._hosts: dict[Key, _Host] = {}

    def key(self, task: int) -> Key | None:
        """What a task belongs to, None without an energy; tasks are numbered as they were added."""
        return self._keys[task]

    def add(self, record: TaskRecord, origin: Provenance) -> None:
        """Add a task; without energies it belongs to nothing."""
        self._keys.append(None)
        relaxes, known = origin.treatment not in ("", "none"), record.host_energies
        best = lowest_candidate(record, origin.treatment if relaxes else "none")
        if best is None or not origin.potential or len(set(record.guests)) != 1 or known is None:
            return
        (rank, energy), empty = best, known.relaxed_energy if relaxes else known.energy
        if empty is None:
            return
        key = self._keys[-1] = (record.host_id, record.guests[0], origin.potential, origin.treatment)
        host = self._hosts.setdefault(key, _Host(record.host))
        host.energy = empty
        host.volume = known.relaxed_volume if relaxes and known.relaxed_volume is not None else record.host.volume
        crystal = record.crystal(rank, relaxed=relaxes)
        host.filled.append(
            FilledHost(float(len(record.guests)), energy * len(crystal), crystal.volume, record.task_id[:12])
        )

    def profiles(self) -> dict[Key | None, dict[str, Any]]:
        """Those with at least two numbers of guests, of ions whose metal is tabulated.

        Beside what `VoltageProfile.as_dict` has: `unit`, the formula unit without the ion, `units`, how many of them
        the cell holds, and `x_empty`, ions per formula unit that the host holds already.
        """
        found: dict[Key | None, dict[str, Any]] = {}
        for key, host in self._hosts.items():
            _, ion, potential, treatment = key
            metal = metal_of((ion,), potential)
            if len({one.count for one in host.filled}) < 2 or metal is None or ion not in ION_CHARGES:
                continue
            crystal = host.crystal
            empty = FilledHost(0.0, host.energy or 0.0, host.volume, crystal.name)
            profile = voltage_profile(ion, empty, host.filled, metal, treatment=treatment)
            profile = replace(profile, formula=crystal.formula, charges=charge_limits(crystal, ion))
            unit, units, present = formula_units(crystal.formula, profile.symbol)
            found[key] = profile.as_dict() | {"unit": unit, "units": units, "x_empty": present / units}
        return found
