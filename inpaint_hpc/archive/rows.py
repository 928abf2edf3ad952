"""The rows of results: each field with its unit, range and description, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .fields import Row, column, computed, nested, row_type

RELAX = ("none", "guests", "positions", "cell")
CONVERGED, UNFINISHED, DIVERGED = "converged", "unfinished", "diverged"
_FRAC = "fractional coordinates in [0, 1)"
_RMSD = "root mean square distance of the guests from where they had been taken out; NaN beyond 3 A"
_FARTHEST = "distance of the farthest guest from there; right up to the reference_tolerance_A of the task"
_MINIMUM = "smallest distance of a guest to another atom or an image of itself"


@row_type(kw_only=False)
class Sample(Row):
    """A sample that was drawn, possible or not."""

    index: int = column("i8", "index of the sample; with task and settings it determines the sample", minimum=0)
    valid: bool = column("?", "1 if physically possible")
    reason: str = column("S", "why not possible", longest=200)
    min_distance: float | None = column("f8", _MINIMUM, "A", null=True, minimum=0.0)
    candidate: int = column("i8", "rank of the candidate that the sample belongs to, -1 for none", minimum=-1)
    guest_frac_coords: np.ndarray = column(
        "f8", _FRAC, per="guest_offsets", tail=(3,), minimum=0.0, below=1.0, null=True
    )
    reference_rmsd: float | None = column(
        "f8", _RMSD, "A", null=True, minimum=0.0, optional=True, since="1.4", default=None
    )
    reference_distance: float | None = column(
        "f8", _FARTHEST, "A", null=True, minimum=0.0, optional=True, since="1.4", default=None
    )


@row_type()
class Relaxed(Row):
    """What became of a candidate in CHGNet's forces; energies and positions are None when it diverged."""

    energy_per_atom: float | None = column("f8", "after relaxation", "eV/atom", null=True, default=None)
    max_force: float | None = column("f8", "after relaxation", "eV/A", null=True, minimum=0.0, default=None)
    lattice: np.ndarray | None = column(
        "f8", "rows a, b, c after relaxation", "A", tail=(3, 3), null=True, default=None
    )
    guest_frac_coords: np.ndarray | None = column(
        "f8",
        f"after relaxation, {_FRAC}",
        per="guest_offsets",
        tail=(3,),
        minimum=0.0,
        below=1.0,
        null=True,
        default=None,
    )
    host_frac_coords: np.ndarray | None = column(
        "f8", "host atoms after relaxation", per="host_offsets", tail=(3,), null=True, default=None
    )
    max_guest_force: float | None = column(
        "f8", "after relaxation", "eV/A", null=True, minimum=0.0, since="1.1", default=None
    )
    energy_per_guest: float | None = column(
        "f8", "energy of the relaxed cell minus that of the host, relaxed alike, per guest", "eV/guest", null=True,
        default=None, since="1.3",
    )  # fmt: skip
    outcome: str = column(
        "S",
        "converged, unfinished or diverged; '' where there was none",
        nested_name="relaxation",
        choices=(CONVERGED, UNFINISHED, DIVERGED),
        since="1.1",
    )
    steps: int = column("i8", "steps of relaxation", minimum=0, since="1.1")

    @property
    def sound(self) -> bool:
        """Whether there is a relaxed structure."""
        return self.outcome != DIVERGED

    def crystal(self, host: Crystal, guests: Sequence[int]) -> Crystal:
        """Host and guests, relaxed; rows of a frozen host are the same bits as before.

        Raises:
            ValueError: it diverged.
        """
        if self.guest_frac_coords is None:
            raise ValueError("the relaxation diverged; there is no relaxed structure")
        frac = host.frac_coords if self.host_frac_coords is None else self.host_frac_coords
        lattice = host.lattice if self.lattice is None else self.lattice
        return replace(host, frac_coords=frac, lattice=lattice).with_guests(np.array(guests), self.guest_frac_coords)


@row_type()
class Candidate(Row):
    """One placement of all guests: a cluster of equal samples, shown by its typical member."""

    SHOWN: ClassVar[tuple[str, ...]] = (
        *("rank", "relaxed_energy_per_atom_eV", "relaxed_max_force_eV_per_A", "relaxation", "energy_per_atom_eV"),
        *("energy_per_guest_eV", "relaxed_energy_per_guest_eV"),
        *(
            "max_force_eV_per_A",
            "max_guest_force_eV_per_A",
            "min_distance_A",
            "multiplicity",
            "wyckoff",
            "coordination",
            "environment",
            "bond_valence_sum",
        ),
        "spacegroup",
        *("agreement", "count", "placements", "origin", "spread_A", "guest_frac_coords"),
    )

    rank: int = column("i8", "0 is the best", minimum=0)
    sample: int = column("i8", "index of the sample shown, -1 for none", minimum=-1)
    agreement: float = column("f8", "these over valid samples", minimum=0.0, maximum=1.0)
    spread: float | None = column("f8", "root mean square scatter of these", "A", null=True, minimum=0.0)
    min_distance: float = column("f8", _MINIMUM, "A", minimum=0.0)
    energy_per_atom: float | None = column(
        "f8", "potential energy, NaN when not scored", "eV/atom", null=True, default=None
    )
    max_force: float | None = column("f8", "largest force on any atom", "eV/A", null=True, minimum=0.0, default=None)
    max_guest_force: float | None = column(
        "f8", "largest force on a guest", "eV/A", null=True, minimum=0.0, default=None
    )
    error: str = column("S", "why scoring or relaxation failed", null=True, longest=1000, default="")
    guest_frac_coords: np.ndarray = column("f8", _FRAC, per="guest_offsets", tail=(3,), minimum=0.0, below=1.0)
    multiplicity: tuple[int, ...] = column(
        "i8", "equivalent positions in the host's cell, 0 unknown", per="guest_offsets", minimum=0, default=()
    )
    wyckoff: tuple[str, ...] = column("S", "Wyckoff position such as 8a, '' unknown", per="guest_offsets", default=())
    relaxed: Relaxed | None = nested(Relaxed, "relaxed_", default=None)
    placements: int = column(
        "i8",
        "placements that relaxed into this minimum",
        minimum=0,
        optional=True,
        beside="relaxed",
        since="1.1",
        default=1,
    )
    origin: str = column(
        "S", "joint, sequential, orbits, ordering ...; several joined by +", optional=True, since="1.1", default="joint"
    )
    energy_per_guest: float | None = column(
        "f8", "energy of the cell as placed minus that of the host as given, per guest", "eV/guest", null=True,
        default=None, optional=True, since="1.3",
    )  # fmt: skip
    placed_agreement: float | None = column(
        "f8", "before minima were merged, samples that agree over valid ones", null=True, minimum=0.0, maximum=1.0,
        default=None, optional=True, since="1.3",
    )  # fmt: skip
    placed_multiplicity: tuple[int, ...] = column(
        "i8",
        "as placed: equivalent positions, 0 unknown",
        per="guest_offsets",
        minimum=0,
        default=(),
        optional=True,
        since="1.3",
    )
    placed_wyckoff: tuple[str, ...] = column(
        "S", "as placed: Wyckoff position, '' unknown", per="guest_offsets", default=(), optional=True, since="1.3"
    )
    coordination: tuple[str, ...] = column(
        "S",
        "host atoms around each guest at rest, e.g. O4",
        per="guest_offsets",
        default=(),
        optional=True,
        since="1.3",
    )
    environment: tuple[str, ...] = column(
        "S",
        "the same in words, with shape and distances, e.g. LiO6 octahedron, 2.10-2.14 A",
        per="guest_offsets",
        default=(),
        optional=True,
        since="1.4",
    )
    bond_valence_sum: tuple[float, ...] = column(
        "f8",
        "of each guest at rest; NaN where its bonds are not polar",
        per="guest_offsets",
        null=True,
        minimum=0.0,
        default=(),
        optional=True,
        since="1.4",
    )
    reference_rmsd: float | None = column(
        "f8",
        f"at rest, {_RMSD}",
        "A",
        null=True,
        minimum=0.0,
        optional=True,
        since="1.4",
        shown=False,
        default=None,
    )
    reference_distance: float | None = column(
        "f8",
        f"at rest, {_FARTHEST}",
        "A",
        null=True,
        minimum=0.0,
        optional=True,
        since="1.4",
        shown=False,
        default=None,
    )
    members: tuple[int, ...] = column("i8", "indices of the samples that agree", stored=False, default=())
    spacegroup: str | None = column("S", "of the whole crystal", stored=False, default=None)

    @computed(column("i8", "samples that agree"), before="agreement")
    def count(self) -> int:
        """Samples in the cluster."""
        return len(self.members)

    @property
    def guests_at_rest(self) -> np.ndarray:
        """Fractional coordinates of the guests, relaxed where they were relaxed, (g, 3)."""
        if self.relaxed is None or self.relaxed.guest_frac_coords is None:
            return self.guest_frac_coords
        return self.relaxed.guest_frac_coords

    @property
    def ranking_energy(self) -> float | None:
        """Energy that ranks it, eV per atom: relaxed, else as placed, else None."""
        if self.relaxed is not None and self.relaxed.sound:
            return self.relaxed.energy_per_atom
        return self.energy_per_atom


@row_type(since="1.2")
class Site(Row):
    """An orbit of the site network of one ion; network after network, the most occupied orbit of each first."""

    ion: int = column("u1", "atomic number of the ion; its orbits in a task are one network", minimum=1, maximum=118)
    orbit: int = column("i8", "place in the network, 0 is the most occupied", minimum=0)
    wyckoff: str = column("S", "Wyckoff position such as 8a; without a letter where none is known")
    coordination: str = column("S", "neighbours, a JSON object: element to number and mean distance in A")
    occupancy: float = column("f8", "share of the guest positions that lie on the orbit", minimum=0.0, maximum=1.0)
    spread: float = column("f8", "root mean square distance of these from their site", "A", minimum=0.0)
    energy: float | None = column("f8", "of the cell with one guest there, relaxed in the frozen host", "eV", null=True)
    shift: float | None = column("f8", "how far that guest moved", "A", null=True, minimum=0.0)
    settles_on: int = column("i8", "orbit it was on afterwards, -1 unknown or none", minimum=-1)
    symprec: float = column("f8", "tolerance of the symmetry, 0 for none", "A", minimum=0.0)
    positions: int = column("i8", "guest positions that the network was built from", minimum=0)
    saturated: bool = column("?", "1 if the last samples found no new site")
    frac_coords: np.ndarray = column("f8", _FRAC, per="position_offsets", tail=(3,), minimum=0.0, below=1.0)


@row_type(since="1.3")
class HostEnergies(Row):
    """The host's own energy by the same potential, as given and treated as the candidates are."""

    energy: float | None = column("f8", "of the host without guests, as given", "eV", null=True, default=None)
    relaxed_energy: float | None = column("f8", "treated as the candidates are", "eV", null=True, default=None)
    relaxed_volume: float | None = column(
        "f8", "of its cell, treated as the candidates are", "A^3", null=True, minimum=0.0, default=None
    )
    relaxation: str = column(
        "S", "converged or unfinished, where the host was relaxed", choices=(CONVERGED, UNFINISHED), default=""
    )


@row_type(since="1.3")
class Provenance(Row):
    """Which potential and settings the energies and samples of a task are from; '' and NaN where not known."""

    potential: str = column("S", "name of the potential's weights, e.g. CHGNet 0.3.0", default="")
    potential_sha256: str = column("S", "sha256 of the potential's weights", default="")
    treatment: str = column("S", "what was relaxed", choices=RELAX, default="")
    fmax: float | None = column("f8", "relaxed when no force was larger", "eV/A", null=True, minimum=0.0, default=None)
    relax_steps: int = column("i8", "most steps of a relaxation, 0 without", minimum=0, default=0)
    weights_sha256: str = column("S", "sha256 of the score model's weights", default="")
    settings_sha256: str = column("S", "sha256 of the settings of sampling and pipeline that decide", default="")


@row_type()
class Host(Row):
    """A host, once for all tasks in it."""

    id: str = column("S", "sha256 of numbers, frac_coords and lattice, hexadecimal")
    name: str = column("S", "what tables call the host")
    lattice: np.ndarray = column("f8", "rows are the cell vectors a, b, c", "A", tail=(3, 3), name="lattice")
    info: str = column("S", "free extra columns of the host, a JSON object")
    numbers: np.ndarray = column("u1", "atomic numbers", per="atom_offsets", minimum=1, maximum=118)
    frac_coords: np.ndarray = column("f8", "fractional coordinates, as they were given", per="atom_offsets", tail=(3,))


@row_type()
class Failure(Row):
    """Why a task has no result."""

    task: int = column("i8", "row in /tasks")
    attempts: int = column("i8", "how often the task was tried", minimum=1)
    error: str = column("S", "in one line", longest=1000)
    traceback: str = column("S", "where it was raised")
