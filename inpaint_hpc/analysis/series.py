"""A host with 0, 1, 2 ... guests, up to as many as its sites hold: a search for each, then hull and voltage curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.supercells import MAX_ATOMS, inequivalent_supercells, supercell
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.errors import InputError
from inpaint_hpc.orderings.annealing import random_orderings
from inpaint_hpc.orderings.enumeration import symmetric_orderings
from inpaint_hpc.orderings.ordering_space import ordering_space
from inpaint_hpc.pipeline.inpaint import run_tasks
from inpaint_hpc.pipeline.relaxation_notes import framework_departure
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.sampling.contact_distances import contact_radii
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax
from inpaint_hpc.sites.find_sites import find_sites
from inpaint_hpc.sites.pooling import PoolingSettings
from inpaint_hpc.sites.site_network import SiteNetwork

from .charge_limits import charge_limits
from .metal_references import metal_energy
from .metal_states import metal_states
from .voltage import FilledHost, VoltageProfile, voltage_profile

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.sampling.strategies import Network

# Guests of a full host are at least this many contact distances apart (Li 1.92 A, Na 2.49 A): neighbouring octahedra
# and tetrahedra, which are 1.7 to 1.8 A apart in oxides, are not both taken.
FULL_SPACING = 1.25

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Series:
    """Results for each number of guests, and the profile they give together.

    Attributes:
        profile: energies, hull and voltage curve.
        results: of each number of guests in the host's cell, in increasing order, then those in supercells.
    """

    profile: VoltageProfile
    results: tuple[InpaintResult, ...]


@dataclass(frozen=True)
class SeriesExtent:
    """Which numbers of guests, in which cells.

    Attributes:
        counts: numbers of guests in the host's cell; None takes 1 to `most_guests`.
        cells: orderings are also searched in supercells of up to this many host cells, for every number of guests
            between the lowest and the highest of `counts`.
        shapes: maximum number of supercells per size, the most compact of the symmetry-inequivalent ones.

    Raises:
        InputError: no cell or no shape.
    """

    counts: Sequence[int] | None = None
    cells: int = 1
    shapes: int = 2

    def __post_init__(self) -> None:
        if self.cells < 1 or self.shapes < 1:
            raise InputError(f"a series needs at least one cell and one shape, not {self.cells} and {self.shapes}")


def concentration_series(
    network: Network,
    host: Crystal,
    guest: int,
    extent: SeriesExtent | None = None,
    sampling: SamplingSettings | None = None,
    pipeline: PipelineSettings | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Series:
    """Place 1, 2, 3 ... guests, relax the best of each in the same way as the host, and combine the energies.

    Args:
        network: a score network.
        host: the host.
        guest: atomic number.
        extent: numbers of guests and supercells; by default 1 to `most_guests` in the host's own cell.
        sampling, pipeline: settings; by default the two best candidates are relaxed with the cell.
        device: of the network and of CHGNet.
        progress: called with the stage, what is done and the total.

    Raises:
        InputError: no number of guests, one that the cell cannot hold, a host that CHGNet cannot relax, or no candidate
            for any number.
    """
    extent, sampling = extent or SeriesExtent(), sampling or SamplingSettings()
    pipeline = pipeline or PipelineSettings(relax="cell", top_k=2, relax_steps=200)
    counts, cells = extent.counts, extent.cells
    fitting: int | None = None
    from_empty = counts is None or 0 in counts
    if counts is None:
        fitting = most_guests(network, host, guest, sampling, device, progress)
        counts = range(1, fitting + 1)
    numbers = sorted({int(n) for n in counts})
    wanted = [n for n in numbers if n]
    if not wanted or wanted[0] < 0:
        raise InputError("a series needs numbers of guests of at least 1, such as 1..4")
    if cells * len(host) > MAX_ATOMS:
        raise InputError(
            f"{host.name or 'host'}: {cells} cells have {cells * len(host)} atoms (at most {MAX_ATOMS}); take fewer"
        )
    places = [(Task(host, [guest] * n), 1) for n in wanted]
    lowest = 0 if from_empty else wanted[0]
    for size in range(2, cells + 1):
        for larger in _supercells(host, size, extent.shapes, pipeline.symprec):
            counted = range(max(1, lowest * size), wanted[-1] * size + 1)
            places += [(Task(larger, [guest] * n), size) for n in counted]
    results = run_tasks(network, [task for task, _ in places], sampling, pipeline, device, progress)
    empty = _empty(host, pipeline, device)
    filled: list[FilledHost] = []
    crystals: list[Crystal] = []
    notes: list[str] = []
    for (task, size), result in zip(places, results, strict=True):
        n = len(task.guests)
        where = f"{n} guests" if size == 1 else f"{n} guests in {task.host.name}"
        best = next((c for c in result.candidates if c.ranking_energy is not None), None)
        per_atom = None if best is None else best.ranking_energy
        if best is None or per_atom is None or (pipeline.relaxes and (best.relaxed is None or not best.relaxed.sound)):
            notes.append(f"{where}: no candidate with an energy")
            continue
        crystal = result.crystal(best.rank)
        energy = per_atom * len(crystal) / size
        label = f"rank {best.rank}" if size == 1 else f"{task.host.name}, rank {best.rank}"
        crystals.append(crystal)
        filled.append(
            FilledHost(
                n / size,
                energy,
                crystal.volume / size,
                label,
                tuple(best.wyckoff),
                tuple(best.coordination),
                spacegroup_symbol(crystal, pipeline.symprec),
                framework_departure(task.host, crystal),
            )
        )
        notes += [f"{where}: {note}" for note in result.notes if not note.startswith("the host already")]
    if not filled:
        raise InputError(f"{host.name or 'host'}: no candidate for any number of guests")
    states = metal_states(crystals, pipeline.chgnet, device) if pipeline.relaxes else [{}] * len(filled)
    profile = voltage_profile(
        guest,
        empty,
        [replace(one, states=found) for one, found in zip(filled, states, strict=True)],
        metal_energy(guest, pipeline.chgnet, device),
        treatment=pipeline.relax,
        chgnet=pipeline.chgnet,
        notes=notes,
    )
    charges = charge_limits(host, guest, profile.charge)
    return Series(replace(profile, formula=host.formula, fitting=fitting, charges=charges), tuple(results))


def _supercells(host: Crystal, size: int, shapes: int, symprec: float) -> list[Crystal]:
    """The most compact supercells of one size, named `host-2a`, `host-2b` ..."""
    matrices = inequivalent_supercells(host, size, symprec)[:shapes]
    name = host.name or host.formula
    return [
        supercell(host, matrix, f"{name}-{size}{ascii_lowercase[k % 26]}{k // 26 or ''}")
        for k, matrix in enumerate(matrices)
    ]


def most_guests(
    network: Network,
    host: Crystal,
    guest: int,
    sampling: SamplingSettings | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> int:
    """Number of guests that the sites of a host hold, no two closer than 1.25 contact distances.

    Raises:
        InputError: no sites are found.
    """
    settings = PoolingSettings(sampling=sampling or SamplingSettings())
    # Joint samples too: single guests go to the best sites and may never show those that are filled last.
    most = fitting(find_sites(network, host, guest, settings=settings, device=device, progress=progress))
    if not most:
        raise InputError(f"{host.name or 'host'}: no site was found for this ion; give the numbers of guests")
    return most


def fitting(network: SiteNetwork, most_sites: int | None = None) -> int | None:
    """As `capacity`, of the sites where a guest stays when it relaxes: crowded guests are pushed off their sites.

    None where no guest was relaxed, so that it is not known which sites these are, or where there are more of them than
    `most_sites`: the search for the fullest filling takes minutes there.
    """
    if not any(np.isfinite(orbit.energy) for orbit in network.orbits):
        return None
    stays = tuple(orbit for k, orbit in enumerate(network.orbits) if orbit.settles_on == k)
    if most_sites is not None and sum(orbit.multiplicity for orbit in stays) > most_sites:
        return None
    return capacity(replace(network, orbits=stays))


def capacity(network: SiteNetwork) -> int:
    """Guests that fit on the sites of a network, found by unions of orbits and by filling at random."""
    if not len(network):
        return 0
    radius = FULL_SPACING * float(contact_radii([network.number])[0])
    space = ordering_space([network], {network.number: radius})
    most = 0
    for n in range(1, _at_most(space.excluded) + 1):
        counts = {network.number: n}
        if len(random_orderings(space, counts, 1, n, tries=40)) or len(
            symmetric_orderings(space, counts, subgroups=60, limit=1)
        ):
            most = n
        elif n > 2 * most + 4:
            break
    return most


def _at_most(excluded: np.ndarray) -> int:
    """Upper bound of how many sites can be taken together: a group of sites that all exclude each other holds one."""
    groups: list[list[int]] = []
    for site in np.argsort(-excluded.sum(axis=1), kind="stable").tolist():
        fits = next((group for group in groups if excluded[site, group].all()), None)
        if fits is None:
            groups.append([site])
        else:
            fits.append(site)
    return len(groups)


def _empty(host: Crystal, pipeline: PipelineSettings, device: torch.device | str | None) -> FilledHost:
    """The host without guests, relaxed like the filled ones."""
    mode = "cell" if pipeline.relax == "cell" else "positions"
    steps = pipeline.relax_steps if pipeline.relax in ("positions", "cell") else 0
    settings = RelaxSettings(mode, pipeline.fmax, steps)
    (found,) = relax([host], settings=settings, model=pipeline.chgnet, device=device)
    if not np.isfinite(found.energy_per_atom):
        raise InputError(f"{host.name or 'host'}: no energy of the empty host by CHGNet: {found.reason}")
    return FilledHost(0.0, found.energy_per_atom * len(host), found.crystal.volume, host.name or host.formula)
