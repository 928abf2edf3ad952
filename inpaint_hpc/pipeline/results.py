"""What the pipeline hands out: candidates of one host, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from inpaint_hpc.sites.site_network import SiteNetwork

    from .rejection_sampling import ValidSamples


COLUMNS = [
    "rank",
    "relaxed_energy_per_atom_eV",
    "relaxed_max_force_eV_per_A",
    "relaxation",
    "energy_per_atom_eV",
    "max_force_eV_per_A",
    "max_guest_force_eV_per_A",
    "min_distance_A",
    "multiplicity",
    "wyckoff",
    "spacegroup",
    "agreement",
    "count",
    "placements",
    "origin",
    "spread_A",
    "guest_frac_coords",
]

CONVERGED, UNFINISHED, DIVERGED = "converged", "unfinished", "diverged"


@dataclass(frozen=True, eq=False)
class Relaxed:
    """What became of a candidate in CHGNet's forces.

    Attributes:
        outcome: 'converged', 'unfinished' (not converged within the steps allowed, but sound) or 'diverged'.
        steps: steps taken.
        energy_per_atom: eV per atom; this and what follows is None when diverged.
        max_force: largest force on any atom, eV/A; on a frozen host it stays.
        max_guest_force: largest force on a guest, eV/A.
        guest_frac_coords: fractional coordinates in the relaxed cell, in [0, 1), float64 (n, 3).
        host_frac_coords: of the host atoms, float64 (m, 3); None where the host was frozen.
        lattice: rows a, b, c in A, float64 (3, 3); None where the cell was frozen.
    """

    outcome: str
    steps: int
    energy_per_atom: float | None = None
    max_force: float | None = None
    max_guest_force: float | None = None
    guest_frac_coords: np.ndarray | None = None
    host_frac_coords: np.ndarray | None = None
    lattice: np.ndarray | None = None

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

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as in docs/json.md."""

        def plain(array: np.ndarray | None) -> list | None:
            return None if array is None else array.tolist()

        return {
            "outcome": self.outcome,
            "steps": self.steps,
            "energy_per_atom_eV": self.energy_per_atom,
            "max_force_eV_per_A": self.max_force,
            "max_guest_force_eV_per_A": self.max_guest_force,
            "guest_frac_coords": plain(self.guest_frac_coords),
            "host_frac_coords": plain(self.host_frac_coords),
            "lattice_A": plain(self.lattice),
        }


@dataclass(frozen=True, eq=False)
class Candidate:
    """One placement of all guests: a cluster of equal samples, shown by its typical member.

    Attributes:
        rank: 0 is the best: lowest energy (after relaxation, where there was one), or largest agreement if nothing was
            scored.
        guest_frac_coords: fractional coordinates in the host's cell as placed, in [0, 1), float64 (n, 3).
        sample: index of the sample shown; -1 for a placement on the site network that no sample shows.
        members: indices of all samples in the cluster, in increasing order; those of all placements that relaxed into
            this minimum.
        agreement: members over valid samples, in [0, 1].
        spread: root mean square scatter of the members, A; None for all-atom generation, and where several placements
            became one.
        min_distance: smallest distance of a guest to another atom or an image of itself as placed, A.
        multiplicity: for each guest, equivalent positions in the host's own cell, of where it came to rest if the host
            was frozen, else of where it was placed; empty for all-atom generation.
        wyckoff: for each guest, Wyckoff position in the conventional cell such as '8a'; empty likewise.
        spacegroup: of the whole structure, relaxed if it was; None when placed in a host.
        energy_per_atom: CHGNet energy as placed, eV per atom; None when not scored or failed.
        max_force: largest CHGNet force on any atom as placed, eV/A; None likewise.
        max_guest_force: largest CHGNet force on a guest as placed, eV/A; None likewise.
        error: why scoring or relaxation failed, '' otherwise.
        relaxed: what relaxation made of it; None when it was not relaxed.
        origin: where the placement comes from: 'joint' or 'sequential' samples (or the name of another strategy),
            'orbits' (whole orbits of the site network) or 'ordering' (other sites of it); joined by '+' where several
            agree.
        placements: different placements, equal samples taken as one, that relaxed into this minimum; this one is the
            one that came out lowest.
    """

    rank: int
    guest_frac_coords: np.ndarray
    sample: int
    members: tuple[int, ...]
    agreement: float
    spread: float | None
    min_distance: float
    multiplicity: tuple[int, ...] = ()
    wyckoff: tuple[str, ...] = ()
    spacegroup: str | None = None
    energy_per_atom: float | None = None
    max_force: float | None = None
    max_guest_force: float | None = None
    error: str = ""
    relaxed: Relaxed | None = None
    placements: int = 1
    origin: str = "joint"

    @property
    def ranking_energy(self) -> float | None:
        """Energy that ranks it, eV per atom: relaxed, else as placed, else None."""
        if self.relaxed is not None and self.relaxed.sound:
            return self.relaxed.energy_per_atom
        return self.energy_per_atom

    @property
    def count(self) -> int:
        """Samples in the cluster."""
        return len(self.members)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as in docs/json.md."""
        return {
            **{name: value for name, value in self.row().items() if not name.startswith("relax")},
            "relaxed": None if self.relaxed is None else self.relaxed.as_dict(),
            "multiplicity": list(self.multiplicity),
            "wyckoff": list(self.wyckoff),
            "guest_frac_coords": self.guest_frac_coords.tolist(),
            "sample": self.sample,
            "members": list(self.members),
            "error": self.error or None,
        }

    def row(self) -> dict[str, Any]:
        """Row of a table; names carry units."""
        return {
            "rank": self.rank,
            "relaxed_energy_per_atom_eV": None if self.relaxed is None else self.relaxed.energy_per_atom,
            "relaxed_max_force_eV_per_A": None if self.relaxed is None else self.relaxed.max_force,
            "relaxation": None if self.relaxed is None else self.relaxed.outcome,
            "energy_per_atom_eV": self.energy_per_atom,
            "max_force_eV_per_A": self.max_force,
            "max_guest_force_eV_per_A": self.max_guest_force,
            "min_distance_A": self.min_distance,
            "multiplicity": self.multiplicity,
            "wyckoff": self.wyckoff,
            "spacegroup": self.spacegroup,
            "agreement": self.agreement,
            "count": self.count,
            "placements": self.placements,
            "origin": self.origin,
            "spread_A": self.spread,
            "guest_frac_coords": self.guest_frac_coords,
        }


@dataclass(frozen=True, eq=False)
class InpaintResult:
    """Candidates of one host.

    Attributes:
        host: the host, the same object that was given; without atoms for all-atom generation.
        guests: sorted atomic numbers of the guests, in the order of `guest_frac_coords`.
        candidates: best first.
        n_drawn: samples drawn, redrawn ones included.
        n_invalid: of these, physically impossible ones; they were thrown away.
        reasons: why, with the number of samples each; distances left out.
        notes: what a user should know, one line each.
        settings: of sampling and pipeline, plain values.
        weights: name and sha256 of the weights; empty if the network has none.
        seconds: wall time by stage ('sample', 'deduplicate', 'score', 'relax'); sampling shared out by samples drawn.
        drawn: every sample that was drawn, impossible ones included.
        networks: the site networks that placements came from, one per ion; none where no sites were searched.
        evaluations: energies that CHGNet computed until the candidates were ranked as placed; relaxation comes on top.
        confidence: chance that the placement which most samples agree on is right, as measured with these weights; None
            where that is not known.
    """

    host: Crystal
    guests: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    n_drawn: int
    n_invalid: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    drawn: ValidSamples | None = field(default=None, repr=False)
    networks: tuple[SiteNetwork, ...] = field(default=(), repr=False)
    evaluations: int = 0
    confidence: float | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def name(self) -> str:
        """Name of the host."""
        return self.host.name or "host"

    @property
    def n_valid(self) -> int:
        """Samples that the candidates stand for."""
        return self.n_drawn - self.n_invalid

    @property
    def invalid_rate(self) -> float:
        """Impossible samples over samples drawn."""
        return self.n_invalid / self.n_drawn if self.n_drawn else 0.0

    @property
    def guest_label(self) -> str:
        """Guests as on the command line, e.g. `Li=4 Na=1`."""
        from ase.data import chemical_symbols

        numbers, counts = np.unique(np.array(self.guests), return_counts=True)
        return " ".join(f"{chemical_symbols[z]}={n}" for z, n in zip(numbers, counts, strict=True))

    def crystal(self, rank: int = 0, relaxed: bool | None = None) -> Crystal:
        """Host and guests of a candidate; host rows are the same bits as in `host`, unless relaxation moved them.

        Args:
            rank: of the candidate.
            relaxed: after relaxation or as placed; None takes the relaxed structure where there is one.

        Raises:
            IndexError: no candidate of that rank, or `relaxed` and it was not relaxed or diverged.
        """
        candidate = self._candidate(rank)
        sound = candidate.relaxed is not None and candidate.relaxed.sound
        if relaxed and not sound:
            raise IndexError(f"{self.name}: candidate {rank} was not relaxed, or diverged")
        if sound and relaxed is not False:
            return candidate.relaxed.crystal(self.host, self.guests)
        return self.host.with_guests(np.array(self.guests), candidate.guest_frac_coords)

    def structure(self, rank: int = 0, relaxed: bool | None = None) -> Structure:
        """As a pymatgen `Structure`, host first, guests last; see `crystal`."""
        return self.crystal(rank, relaxed).to_structure()

    def table(self) -> pd.DataFrame:
        """One row per candidate, best first; the columns are those of `Candidate.row`."""
        import pandas as pd

        return pd.DataFrame([c.row() for c in self.candidates], columns=COLUMNS)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as in docs/json.md."""
        from ase.data import chemical_symbols

        return {
            "host": self.name,
            "host_atoms": len(self.host),
            "guests": [chemical_symbols[z] for z in self.guests],
            "lattice_A": self.host.lattice.tolist(),
            "n_drawn": self.n_drawn,
            "n_invalid": self.n_invalid,
            "invalid_rate": self.invalid_rate,
            "invalid_reasons": dict(self.reasons),
            "confidence": self.confidence,
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "candidates": [candidate.as_dict() for candidate in self.candidates],
        }

    def _candidate(self, rank: int) -> Candidate:
        if not 0 <= rank < len(self.candidates):
            raise IndexError(f"{self.name} has {len(self.candidates)} candidates; there is none of rank {rank}")
        return self.candidates[rank]
