"""What the pipeline hands out: candidates of one host, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from .drawing import Drawn


COLUMNS = [
    "rank",
    "energy_per_atom_eV",
    "max_force_eV_per_A",
    "max_guest_force_eV_per_A",
    "min_distance_A",
    "multiplicity",
    "wyckoff",
    "spacegroup",
    "agreement",
    "count",
    "spread_A",
    "guest_frac_coords",
]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One placement of all guests: a cluster of equal samples, shown by its typical member.

    Attributes:
        rank: 0 is the best: lowest energy, or largest agreement if nothing was scored.
        guest_frac_coords: fractional coordinates in the host's cell, in [0, 1), float64 (n, 3).
        sample: index of the sample shown.
        members: indices of all samples in the cluster, in increasing order.
        agreement: members over valid samples, in (0, 1].
        spread: root mean square scatter of the members, A; None for all-atom generation.
        min_distance: smallest distance of a guest to another atom or an image of itself, A.
        multiplicity: for each guest, equivalent positions in the host's own cell; empty for all-atom generation.
        wyckoff: for each guest, Wyckoff position in the conventional cell such as '8a'; empty likewise.
        spacegroup: of the whole structure; None when placed in a host.
        energy_per_atom: CHGNet energy, eV per atom; None when not scored or failed.
        max_force: largest CHGNet force on any atom, eV/A; None likewise.
        max_guest_force: largest CHGNet force on a guest, eV/A; None likewise.
        error: why scoring failed, '' otherwise.
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

    @property
    def count(self) -> int:
        """Samples in the cluster."""
        return len(self.members)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as in docs/json.md."""
        return {
            **self.row(),
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
            "energy_per_atom_eV": self.energy_per_atom,
            "max_force_eV_per_A": self.max_force,
            "max_guest_force_eV_per_A": self.max_guest_force,
            "min_distance_A": self.min_distance,
            "multiplicity": self.multiplicity,
            "wyckoff": self.wyckoff,
            "spacegroup": self.spacegroup,
            "agreement": self.agreement,
            "count": self.count,
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
        seconds: wall time by stage ('sample', 'deduplicate', 'score'); sampling shared out by samples drawn.
        drawn: every sample that was drawn, impossible ones included.
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
    drawn: Drawn | None = field(default=None, repr=False)

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

    def crystal(self, rank: int = 0) -> Crystal:
        """Host and guests of a candidate; host rows are the same bits as in `host`.

        Raises:
            IndexError: no candidate of that rank.
        """
        return self.host.with_guests(np.array(self.guests), self._candidate(rank).guest_frac_coords)

    def structure(self, rank: int = 0) -> Structure:
        """As a pymatgen `Structure`, host first, guests last."""
        return self.crystal(rank).to_structure()

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
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "candidates": [candidate.as_dict() for candidate in self.candidates],
        }

    def _candidate(self, rank: int) -> Candidate:
        if not 0 <= rank < len(self.candidates):
            raise IndexError(f"{self.name} has {len(self.candidates)} candidates; there is none of rank {rank}")
        return self.candidates[rank]
