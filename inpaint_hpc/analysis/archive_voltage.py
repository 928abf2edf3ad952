"""Voltages of what an archive holds: energies of one host, ion, potential and treatment belong together, no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import UNFINISHED, HostEnergies, Provenance
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.provenance import provenance_of_file
from inpaint_hpc.scoring.chgnet.models import weights_digest, weights_of_potential
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings

from .charge_limits import charge_limits
from .metal_references import metal_energy
from .voltage import FilledHost, VoltageProfile, cell_energies, voltage_profile

if TYPE_CHECKING:
    import torch

Key = tuple[str, int, str, str]
"""Host id, ion, potential, treatment."""


@dataclass
class _Group:
    """What an archive has of one host, ion, potential and treatment."""

    host: Crystal
    filled: list[FilledHost] = field(default_factory=list)
    origins: list[Provenance] = field(default_factory=list)
    energies: HostEnergies | None = None
    without: int = 0
    unfinished: int = 0


def archive_profiles(
    archive: Archive,
    hosts: Sequence[str] | None = None,
    ions: Sequence[int] | None = None,
    charges: Mapping[int, float] | None = None,
    device: torch.device | str | None = None,
) -> list[VoltageProfile]:
    """A profile for each host, guest element, potential and treatment of an archive, from the best candidate of a task.

    Energies by different potentials or treatments never meet in one profile; runs that differ in other settings, such
    as seeds or budgets, do.  The host's energy is that of the archive, or computed here alike.

    Args:
        archive: opened archive or result file.
        hosts: only hosts whose name fits one of these patterns.
        ions: only these atomic numbers.
        charges: of ions where it is not the usual one.
        device: torch device.

    Raises:
        InputError: nothing fits, what fits has no energies, or it is not known by which potential and treatment they
            were computed.
    """
    groups, mixed = _groups(archive, hosts, ions)
    filled = {key: group for key, group in groups.items() if group.filled}
    if not filled:
        why = "has an energy; run it with pipeline: {score: true}" if groups else "places guests of one element only"
        raise InputError(f"{archive.path}: none of its tasks that fit {why}")
    left_out = [f"{mixed} tasks with guests of several elements are left out: they have no voltage"] if mixed else []
    return [
        _profile(key, group, (charges or {}).get(key[1]), left_out, archive, device) for key, group in filled.items()
    ]


def _groups(archive: Archive, hosts: Sequence[str] | None, ions: Sequence[int] | None) -> tuple[dict[Key, _Group], int]:
    """Groups, and the number of tasks left out because their guests are of several elements."""
    of_file = provenance_of_file(archive.attributes)
    names, _ = archive.task_labels()
    chosen = [k for k, name in enumerate(names) if hosts is None or any(fnmatchcase(name, h) for h in hosts)]
    groups: dict[Key, _Group] = {}
    mixed, unknown = 0, 0
    for record in archive.iter_records(chosen):
        species = set(record.guests)
        if ions is not None and not species & set(ions):
            continue
        if len(species) != 1:
            mixed += 1
            continue
        origin = record.provenance or of_file or Provenance()
        has_energies = any(
            energy is not None and energy == energy for energy in record.candidates.values("energy_per_atom")
        )
        if has_energies and not (origin.potential and origin.treatment):
            unknown += 1
            continue
        key = (record.host_id, record.guests[0], origin.potential, origin.treatment)
        _add(groups.setdefault(key, _Group(record.host)), record, origin)
    if unknown:
        raise InputError(
            f"{archive.path}: {unknown} tasks do not say by which potential and treatment their energies were computed "
            "(merged from runs with different settings before schema 1.3); collect the run directories again"
        )
    # A task without any energy belongs to whatever the host and ion have.
    for key in [key for key in groups if not key[2]]:
        others = [group for other, group in groups.items() if other[:2] == key[:2] and other[2]]
        for group in others:
            group.without += groups[key].without
        if others:
            del groups[key]
    return groups, mixed


def _add(group: _Group, record: TaskRecord, origin: Provenance) -> None:
    """Add the best candidate of a task, treated as the others are."""
    best = None if record.failed else lowest_candidate(record, origin.treatment)
    if best is None:
        group.without += 1
        return
    rank, energy = best
    crystal = record.crystal(rank, relaxed=origin.treatment != "none")
    label, candidate = f"{record.task_id[:12]}:{rank}", record.candidates[rank]
    group.filled.append(
        FilledHost(
            float(len(record.guests)),
            energy * len(crystal),
            crystal.volume,
            label,
            tuple(candidate.wyckoff),
            tuple(candidate.coordination),
        )
    )
    group.origins.append(origin)
    relaxed = candidate.relaxed
    group.unfinished += relaxed is not None and relaxed.outcome == UNFINISHED
    known = record.host_energies
    if known is not None and _host_energy(known, origin.treatment) is not None:
        group.energies = group.energies or known


def lowest_candidate(record: TaskRecord, treatment: str) -> tuple[int, float] | None:
    """Rank and energy in eV per atom of the lowest candidate; None without one."""
    name = "energy_per_atom" if treatment == "none" else "relaxed_energy_per_atom"
    found = [
        (energy, rank)
        for rank, energy in enumerate(record.candidates.values(name))
        if energy is not None and energy == energy
    ]
    return (min(found)[1], float(min(found)[0])) if found else None


def _host_energy(energies: HostEnergies, treatment: str) -> float | None:
    return energies.energy if treatment == "none" else energies.relaxed_energy


def _profile(
    key: Key,
    group: _Group,
    charge: float | None,
    left_out: list[str],
    archive: Archive,
    device: torch.device | str | None,
) -> VoltageProfile:
    _, ion, potential, treatment = key
    host, weights = group.host, weights_of_potential(potential)
    foreign = {one.potential_sha256 for one in group.origins} - {"", weights_digest(weights)}
    if foreign:
        raise InputError(
            f"{archive.path}: energies by {potential} with the weights {min(foreign)[:12]}, but those installed are "
            f"{weights_digest(weights)[:12]}; use the version of chgnet that made them"
        )
    empty, notes = _empty_host(group, treatment, weights, device)
    notes += left_out
    if group.without:
        notes.append(f"{group.without} tasks have no energy")
    if group.unfinished:
        notes.append(
            f"{group.unfinished} of {len(group.filled)} energies are of relaxations that had not converged: they are "
            "too high by an unknown amount, and voltages are too low"
        )
    limits = sorted({one.fmax for one in group.origins if one.fmax is not None})
    if len(limits) > 1:
        notes.append(f"relaxed to different forces: {', '.join(f'{limit:g}' for limit in limits)} eV/A")
    present = int((host.numbers == ion).sum())
    if present:
        notes.append(f"the host holds {present} of these atoms already; counts are of those added")
    metal = metal_energy(ion, weights, device)
    profile = voltage_profile(ion, empty, group.filled, metal, charge, treatment, weights, notes)
    return replace(profile, formula=host.formula, charges=charge_limits(host, ion, profile.charge))


def _empty_host(
    group: _Group, treatment: str, weights: str, device: torch.device | str | None
) -> tuple[FilledHost, list[str]]:
    """The host alone, treated as its candidates were, and what did not converge."""
    host, known = group.host, group.energies
    energy = None if known is None else _host_energy(known, treatment)
    if known is not None and energy is not None:
        volume = host.volume if treatment == "none" or known.relaxed_volume is None else known.relaxed_volume
        notes = [f"{host.name}: the relaxation of the host had not converged"] if known.relaxation == UNFINISHED else []
        return FilledHost(0.0, energy, volume, host.name or host.formula), notes
    limits = [one.fmax for one in group.origins if one.fmax is not None]
    steps = max((one.relax_steps for one in group.origins), default=0)
    fmax = min(limits, default=0.05)
    settings = None if treatment in ("none", "guests") else RelaxSettings(treatment, fmax, steps or 500)
    energies, volumes, notes = cell_energies([host], settings, weights, device)
    return FilledHost(0.0, energies[0], volumes[0], host.name or host.formula), notes
