"""Site networks against sites that are known to be occupied: what they find, and what they hold besides.

Known sites come from electrode pairs (where the discharged crystal has the ions), from packed files with `guest_z`,
`n_sites` and `sites_frac_coords`, or from a JSON file beside the CIF files NAME.cif of its hosts,
`{"NAME": {"sites": {"8a": [[x, y, z], ...]}, "jobs": {"Li=2": {"8a": 2}}}, ...}`: the ions of `jobs` belong on the
sites that these name, alternatives separated by `|`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset, hash_order, read_electrodes
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import open_hdf5
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.clustering import assign_sites, network_from_positions
from inpaint_hpc.sites.find_sites import find_sites
from inpaint_hpc.sites.periodic_points import PeriodicPoints
from inpaint_hpc.sites.pooling import PoolingSettings
from inpaint_hpc.sites.site_network import SiteNetwork

from .host_rows import Column, Row
from .random_placement import seeded
from .score import GROUPS

if TYPE_CHECKING:
    from inpaint_hpc.sampling.strategies import Network

COLUMNS = (
    Column("recall", "recall"),
    Column("all_found", "all found"),
    Column("precision", "precision"),
    Column("sampled_on_known", "positions on known"),
    Column("whole_orbits", "whole orbits"),
    Column("orbits", "orbits", 1),
    Column("sites", "sites", 1),
    Column("seconds_s", "s", 1),
)


@dataclass(frozen=True)
class KnownHost:
    """A host and sites of an ion that are known in it.

    Attributes:
        name, host, ion: the host, and the ion's atomic number.
        sites: fractional coordinates that a network should hold, (n, 3).
        others: of further known sites, which are no mistakes, (m, 3).
        n_guests: number of guests of joint samples; None leaves it to `find_sites`.
        group, framework: of the table and of its intervals.
    """

    name: str
    host: Crystal
    ion: int
    sites: np.ndarray
    others: np.ndarray
    n_guests: int | None
    group: str
    framework: str


def known_hosts(sources: Sequence[str | Path], limit: int | None = None, max_atoms: int = 60) -> list[KnownHost]:
    """Hosts of files with known sites, in the order of the sha256 of their names.

    Args:
        sources: packed files or JSON files, as this module says; electrode pairs that are not recommended are left out.
        limit: so many, the first of them.
        max_atoms: most atoms, known sites included.

    Raises:
        InputError: a file has no known sites, or no host is small enough.
    """
    found = [one for source in sources for one in _read(Path(source)) if len(one.host) + len(one.sites) <= max_atoms]
    if not found:
        raise InputError(f"no host with known sites has at most {max_atoms} atoms, these included; see --max-atoms")
    return hash_order(found)[:limit]


def _read(path: Path) -> Iterator[KnownHost]:
    if path.suffix == ".json":
        return _textbook(path)
    try:
        with open_hdf5(path) as file:
            electrodes = "ref_numbers" in file
    except OSError:
        electrodes = False  # the reader below says what is wrong
    return _electrodes(path) if electrodes else _packed(path)


def _electrodes(path: Path) -> Iterator[KnownHost]:
    for pair in read_electrodes(path):
        if int(pair.info.get("recommended", 1)):
            group = next(name for name, (low, high) in GROUPS.items() if low <= pair.n_guest <= high)
            sites = pair.reference.frac_coords[len(pair.host) :]
            framework = str(pair.info.get("framework", pair.name))
            yield KnownHost(pair.name, pair.host, pair.guest_z, sites, sites[:0], pair.n_guest, group, framework)


def _packed(path: Path) -> Iterator[KnownHost]:
    from ase.data import chemical_symbols

    dataset = PackedDataset(path)
    parts = {}
    with open_hdf5(path) as file:
        if not {"guest_z", "n_sites"} <= dataset.columns.keys() or "sites_frac_coords" not in file:
            raise InputError(
                f"{path}: has neither electrode pairs nor known sites (guest_z, n_sites, sites_frac_coords)"
            )
        for name in ("sites", "other"):
            counts = np.asarray(dataset.columns.get(f"n_{name}", np.zeros(len(dataset), dtype=np.int64)))
            coords = np.asarray(file.get(f"{name}_frac_coords", np.zeros((0, 3))), dtype=np.float64)
            if coords.shape != (counts.sum(), 3) or counts.min() < 0:
                raise InputError(f"{path}: counts do not add up in n_{name} and {name}_frac_coords")
            parts[name] = np.split(coords, np.cumsum(counts)[:-1])
    for crystal, sites, others in zip(dataset, parts["sites"], parts["other"], strict=True):
        if len(sites):
            ion = int(crystal.info["guest_z"])
            framework = str(crystal.info.get("framework", crystal.name))
            yield KnownHost(crystal.name, crystal, ion, sites, others, None, chemical_symbols[ion], framework)


def _textbook(path: Path) -> Iterator[KnownHost]:
    from ase.data import atomic_numbers

    try:
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
            wanted: dict[str, set[str]] = {}
            for job, labels in entry["jobs"].items():
                names = {part for label in labels for part in label.split("|")}
                wanted.setdefault(job.partition("=")[0], set()).update(names)
            (host,) = read_hosts(path.parent / f"{name}.cif")
            for ion, labels in wanted.items():
                sites, others = (
                    np.array([p for label, rows in entry["sites"].items() if (label in labels) == held for p in rows])
                    for held in (True, False)
                )
                sites, others = sites.reshape(-1, 3), others.reshape(-1, 3)
                yield KnownHost(f"{name}+{ion}", host, atomic_numbers[ion], sites, others, None, ion, name)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no list of known sites: {type(error).__name__} {error}") from error


def site_row(
    network: Network, known: KnownHost, settings: PoolingSettings, within: float, at_random: bool = False
) -> Row:
    """The row of a host; one without room for the ion has found nothing.

    Args:
        network: a score network.
        known: the host.
        settings: of the samples and of the symmetry.
        within: a site is found where the network has one at most so far away, A.
        at_random: positions where the ion has room, as many as the most rounds give, instead of samples.
    """
    started = time.perf_counter()
    try:
        if at_random:
            positions = random_positions(known, settings)
            found = network_from_positions(known.host, known.ion, positions, settings.symprec, merge=settings.merge)
        else:
            found = find_sites(
                network,
                known.host,
                known.ion,
                known.n_guests,
                energies=0,
                settings=settings,
            )
        scores: Row = compare_sites(found, known, within)
    except InputError as error:
        zero = dict.fromkeys(
            ("recall", "all_found", "precision", "sampled_on_known", "orbits", "sites", "saturated"), 0
        )
        scores = {**zero, "whole_orbits": None if known.n_guests is None else 0, "error": str(error)}
    return {
        "host": known.name,
        "formula": known.host.formula,
        "ion": known.group if known.n_guests is None else _symbol(known.ion),
        "group": known.group,
        "framework": known.framework,
        "atoms": len(known.host),
        "known": len(known.sites),
        **scores,
        "seconds_s": time.perf_counter() - started,
    }


def compare_sites(found: SiteNetwork, known: KnownHost, within: float) -> dict[str, Any]:
    """A site network against known sites.

    Returns:
        `recall`: share of the known sites that the network has; `all_found`; `precision`: share of its sites at a known
        one or at an image of one under the host's symmetry; `sampled_on_known`: share of the positions it was made of
        that belong to such orbits; `whole_orbits`: the known sites fill orbits, None where they are no placement;
        `orbits`, `sites`, `positions`, `saturated`.
    """
    at = assign_sites(found, known.sites, within)[0]
    right = np.zeros(len(found), dtype=bool)
    if len(found):
        every = np.concatenate([known.sites, known.others])
        images = np.einsum("oij,sj->osi", found.rotations, every) + found.translations[:, None]
        points = PeriodicPoints(PeriodicCell(found.host.lattice), images.reshape(-1, 3) % 1.0, within)
        right = points.nearest(found.frac_coords)[0] >= 0
    sampled = sum(orbit.occupancy for k, orbit in enumerate(found.orbits) if right[found.orbit_of == k].any())
    return {
        "recall": float((at >= 0).mean()),
        "all_found": bool((at >= 0).all()),
        "precision": float(right.mean()) if len(found) else 0.0,
        "sampled_on_known": float(sampled),
        "whole_orbits": None if known.n_guests is None else _whole_orbits(found, at),
        "orbits": len(found.orbits),
        "sites": len(found),
        "positions": found.samples,
        "saturated": bool(found.saturated),
    }


def _whole_orbits(network: SiteNetwork, at: np.ndarray) -> bool:
    """Are the sites a number of orbits, each of them full?"""
    if at.min() < 0 or len(set(at.tolist())) < len(at):
        return False
    return sum(network.orbits[orbit].multiplicity for orbit in set(network.orbit_of[at].tolist())) == len(at)


def random_positions(known: KnownHost, settings: PoolingSettings) -> np.ndarray:
    """Uniform positions that are not on a host atom, (P, 3), as many as the most rounds give."""
    joint = settings.joint_samples * (known.n_guests or len(known.sites))
    wanted = settings.max_rounds * (settings.single_samples + joint)
    rng, found = seeded(f"{known.name}:{settings.sampling.seed}:sites"), np.zeros((0, 3))
    for _ in range(1000):
        points = rng.uniform(size=(wanted, 1, 3))
        found = np.concatenate([found, points[~invalid_samples(known.host, [known.ion], points).invalid][:, 0]])
        if len(found) >= wanted:
            return found[:wanted]
    raise InputError(f"{known.name}: has no room for the ion")


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[number])
