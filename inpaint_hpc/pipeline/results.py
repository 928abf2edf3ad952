"""What the pipeline hands out: candidates of one host, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.archive.rows import (
    CONVERGED,
    DIVERGED,
    UNFINISHED,
    Candidate,
    HostEnergies,
    Provenance,
    Relaxed,
)
from inpaint_hpc.crystals.batch import Crystal

__all__ = ["COLUMNS", "CONVERGED", "DIVERGED", "UNFINISHED", "Candidate", "InpaintResult", "Relaxed"]

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from inpaint_hpc.sites.site_network import SiteNetwork

    from .rejection_sampling import ValidSamples


COLUMNS = list(Candidate.SHOWN)
_SHOWN = 10


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
        confidence: chance that the first candidate is right, as measured with these weights; None where that is not
            known.
        host_energies: the host's own energies by the same potential; None where nothing was scored.
        provenance: potential, treatment, settings and weights that the results are from.
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
    host_energies: HostEnergies | None = None
    provenance: Provenance | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def name(self) -> str:
        """Name of the host."""
        return self.host.name or "host"

    @property
    def spacegroup(self) -> str | None:
        """Space group of the host, e.g. 'Fd-3m'; None without atoms."""
        from inpaint_hpc.crystals.symmetry import spacegroup_symbol

        return spacegroup_symbol(self.host, self.settings.get("symprec", 0.1)) if len(self.host) else None

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
        found = candidate.relaxed if candidate.relaxed is not None and candidate.relaxed.sound else None
        if relaxed and found is None:
            raise IndexError(f"{self.name}: candidate {rank} was not relaxed, or diverged")
        if found is not None and relaxed is not False:
            return found.crystal(self.host, self.guests)
        return self.host.with_guests(np.array(self.guests), candidate.guest_frac_coords)

    def structure(self, rank: int = 0, relaxed: bool | None = None) -> Structure:
        """As a pymatgen `Structure`, host first, guests last; see `crystal`."""
        return self.crystal(rank, relaxed).to_structure()

    def table(self) -> pd.DataFrame:
        """One row per candidate, best first; the columns are those of `Candidate.row`."""
        import pandas as pd

        return pd.DataFrame([c.row() for c in self.candidates], columns=COLUMNS)

    def view(self, rank: int = 0, relaxed: bool | None = None) -> Any:
        """A candidate in 3D, in a notebook; needs py3Dmol.

        Args:
            rank, relaxed: as `crystal`.

        Raises:
            IndexError: as `crystal`.
            InputError: py3Dmol is not installed.
        """
        from inpaint_hpc.crystals.viewing import view_crystal

        return view_crystal(self.crystal(rank, relaxed), len(self.guests))

    def _repr_html_(self) -> str:
        """What a notebook shows: host and guests, the first candidates, and the notes."""
        from html import escape

        about = f"{len(self)} candidates of {self.n_valid} samples"
        about += "" if self.confidence is None else f", confidence {self.confidence:.2f}"
        title = f"<p><b>{escape(self.name)}</b> + {escape(self.guest_label)}: {about}</p>"
        shown = self.table().drop(columns="guest_frac_coords").dropna(axis="columns", how="all")
        table = shown.head(_SHOWN).to_html(index=False, na_rep="", float_format="{:.4f}".format) if len(self) else ""
        more = f"<p>and {len(self) - _SHOWN} more</p>" if len(self) > _SHOWN else ""
        return title + table + more + "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as in docs/json.md."""
        from ase.data import chemical_symbols

        return {
            "host": self.name,
            "host_atoms": len(self.host),
            "host_elements": [chemical_symbols[z] for z in self.host.numbers],
            "host_frac_coords": self.host.frac_coords.tolist(),
            "host_spacegroup": self.spacegroup,
            "host_energies": None if self.host_energies is None else self.host_energies.as_dict(),
            "guests": [chemical_symbols[z] for z in self.guests],
            "lattice_A": self.host.lattice.tolist(),
            "n_drawn": self.n_drawn,
            "n_invalid": self.n_invalid,
            "invalid_rate": self.invalid_rate,
            "invalid_reasons": dict(self.reasons),
            "confidence": self.confidence,
            "n_evaluations": self.evaluations,
            "provenance": None if self.provenance is None else self.provenance.as_dict(),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "candidates": [candidate.as_dict() for candidate in self.candidates],
        }

    def _candidate(self, rank: int) -> Candidate:
        if not 0 <= rank < len(self.candidates):
            raise IndexError(f"{self.name} has {len(self.candidates)} candidates; there is none of rank {rank}")
        return self.candidates[rank]
