"""One task as a row of the table and as the panel that opens from it: plain numbers and texts for JSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from inpaint_hpc.analysis.metal_references import METAL_ENERGIES
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import UNFINISHED, Candidate, Provenance, Site
from inpaint_hpc.benchmark.score import ScoredTask
from inpaint_hpc.crystals.ions import ION_CHARGES
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.scoring.chgnet.models import CHGNET_WEIGHTS, potential_name

SHOWN = 12
"""Candidates of a task whose structures are in the file; the rest are counted."""


class SortKey(NamedTuple):
    """What decides a task's place in the table."""

    failed: bool
    empty: bool
    energy: float | None
    confidence: float | None
    host: str


def sort_key(record: TaskRecord, origin: Provenance) -> SortKey:
    """The key of a task, as its row shows it."""
    best = record.candidates[0] if len(record.candidates) else None
    energy = None if best is None else energy_per_guest(best, origin.treatment)
    return SortKey(
        failed=record.failed,
        empty=not record.failed and best is None and not len(record.sites),
        energy=_number(energy, 5),
        confidence=_number(record.confidence, 4),
        host=record.host.name or record.host.formula,
    )


def task_row(record: TaskRecord, origin: Provenance, score: ScoredTask | None) -> dict[str, Any]:
    """What the table shows of a task."""
    candidates = list(record.candidates)
    best, most = candidates[0] if candidates else None, favourite(candidates)
    ions = Counter(record.guests)
    energy = None if best is None else energy_per_guest(best, origin.treatment)
    charge, metal = (ION_CHARGES.get(record.guests[0]), metal_of(record.guests, origin.potential))
    voltage = None if energy is None or metal is None or charge is None else (metal - energy) / charge
    first_site = record.sites[0] if best is None and len(record.sites) else None
    flags = [
        *(["failed"] if record.failed else []),
        *(["none"] if not record.failed and best is None and first_site is None else []),
        *(["disagree"] if most is not None and most.rank > 0 else []),
        *(["costs"] if voltage is not None and voltage < 0 else []),
        *(["wrong"] if score is not None and not score.top1 and best is not None else []),
        *(["rest"] if best is not None and best.relaxed is not None and best.relaxed.outcome == UNFINISHED else []),
        *(["note"] if record.notes and not record.failed else []),
    ]
    return {
        "id": record.task_id[:12],
        "host": record.host.name or record.host.formula,
        "formula": record.host.formula.replace(" ", ""),
        "spacegroup": spacegroup_symbol(record.host) if len(record.host) else "",
        "ion": "+".join(symbol(z) for z in ions),
        "guests": " ".join(f"{symbol(z)}{n if n > 1 else ''}" for z, n in ions.items()),
        "site": first_site.wyckoff if first_site is not None else "" if best is None else site_text(best.wyckoff),
        "around": "" if best is None else around_text(best),
        "confidence": _number(record.confidence, 4),
        "valid": record.n_valid,
        "agree": 0 if best is None else best.count,
        "most_agree": 0 if most is None else most.count,
        "most_site": "" if most is None or most.rank == 0 else site_text(most.wyckoff),
        "energy": _number(energy, 5),
        "voltage": _number(voltage, 4),
        "flags": flags,
        "note": record.error if record.failed else "; ".join(record.notes),
    }


def task_panel(record: TaskRecord, origin: Provenance, score: ScoredTask | None) -> dict[str, Any]:
    """What an opened task shows."""
    candidates = list(record.candidates)
    most, lowest = favourite(candidates), _lowest(candidates, origin.treatment)
    shown = [one for one in candidates if one.rank < SHOWN or one is most]
    energies = record.host_energies
    relaxed = origin.treatment not in ("", "none")
    return {
        "numbers": record.host.numbers.tolist(),
        "frac": _coordinates(record.host.frac_coords),
        "lattice": _coordinates(record.host.lattice),
        "guests": list(record.guests),
        "candidates": [_candidate(record, one, origin.treatment, lowest) for one in shown],
        "n_candidates": len(candidates),
        "most": -1 if most is None else most.rank,
        "sites": [_site(record, one) for one in record.sites],
        "drawn": len(record.samples),
        "valid": record.n_valid,
        "impossible": dict(Counter(reason for reason in record.samples.values("reason") if reason).most_common(5)),
        "notes": list(record.notes),
        "seconds": {stage: round(time, 2) for stage, time in record.seconds.items()},
        "worker": record.worker,
        "potential": origin.potential,
        "treatment": origin.treatment,
        "fmax": origin.fmax,
        "metal_energy": metal_of(record.guests, origin.potential),
        "host_energy": None
        if energies is None
        else _number(energies.relaxed_energy if relaxed else energies.energy, 4),
        "known": None
        if score is None
        else {"rank": score.right_rank, "rmsd": _number(score.rmsd, 3), "first": score.top1},
        "error": record.error,
        "traceback": record.traceback,
        "attempts": record.attempts,
    }


def around_text(candidate: Candidate) -> str:
    """Neighbours of the guests in words, each once; of archives that have none, 'O4' as 'among 4 O'."""
    told = tuple(re.sub(r"-([\d.]+) A\b", r"-\1 Å", one).replace(" A", " Å") for one in candidate.environment)
    told = told or tuple("among " + re.sub(r"([A-Z][a-z]?)(\d+)", r"\2 \1", one) for one in candidate.coordination)
    return "; ".join(dict.fromkeys(filter(None, told)))


def favourite(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate that most samples agree on; of equals the lowest in energy."""
    return max(candidates, key=lambda one: (one.agreement, -one.rank), default=None)


def energy_per_guest(candidate: Candidate, treatment: str) -> float | None:
    """eV per guest, treated as all of its task are: one that was not relaxed has none beside those that were."""
    if treatment in ("", "none"):
        return candidate.energy_per_guest
    relaxed = candidate.relaxed
    return relaxed.energy_per_guest if relaxed is not None and relaxed.sound else None


def metal_of(guests: Sequence[int], potential: str) -> float | None:
    """Energy per atom of the metal of the only guest element, None where it is not tabulated."""
    named = {potential_name(weights): weights for weights in CHGNET_WEIGHTS}
    return METAL_ENERGIES.get(named.get(potential, ""), {}).get(guests[0]) if len(set(guests)) == 1 else None


def site_text(wyckoff: Sequence[str]) -> str:
    """Wyckoff positions of the guests, e.g. '8a' or two kinds of them, joined by a comma."""
    counts = Counter(name for name in wyckoff if name)
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.items())  # noqa: RUF001


def symbol(number: int) -> str:
    """Symbol of an element."""
    from ase.data import chemical_symbols

    return chemical_symbols[number]


def _energy_per_atom(candidate: Candidate, treatment: str) -> float | None:
    if treatment in ("", "none"):
        return candidate.energy_per_atom
    relaxed = candidate.relaxed
    return relaxed.energy_per_atom if relaxed is not None and relaxed.sound else None


def _lowest(candidates: Sequence[Candidate], treatment: str) -> float | None:
    return min((e for e in (_energy_per_atom(one, treatment) for one in candidates) if e is not None), default=None)


def _candidate(record: TaskRecord, one: Candidate, treatment: str, lowest: float | None) -> dict[str, Any]:
    energy, relaxed = _energy_per_atom(one, treatment), one.relaxed
    per_guest = 1000 * (len(record.host) + len(record.guests)) / max(len(record.guests), 1)
    return {
        "rank": one.rank,
        "site": site_text(one.wyckoff),
        "placed_site": site_text(one.placed_wyckoff or one.wyckoff),
        "multiplicity": list(one.multiplicity),
        "around": around_text(one),
        "count": one.count,
        "spread": _number(one.spread, 3),
        "distance": _number(one.min_distance, 3),
        "energy": _number(energy_per_guest(one, treatment), 5),
        "placed_energy": _number(one.energy_per_guest, 5),
        "above": None if energy is None or lowest is None else round(per_guest * (energy - lowest), 1),
        "force": _number(one.max_guest_force, 3),
        "origin": one.origin,
        "placements": one.placements,
        "error": one.error,
        "frac": _coordinates(one.guest_frac_coords),
        "relaxed": None
        if relaxed is None
        else {
            "outcome": relaxed.outcome,
            "steps": relaxed.steps,
            "frac": _coordinates(relaxed.guest_frac_coords),
            "host": _coordinates(relaxed.host_frac_coords),
            "lattice": _coordinates(relaxed.lattice),
        },
    }


def _site(record: TaskRecord, one: Site) -> dict[str, Any]:
    lowest = min(
        (other.energy for other in record.sites if other.ion == one.ion and other.energy is not None), default=None
    )
    around = json.loads(one.coordination) if one.coordination else {}
    return {
        "ion": symbol(one.ion),
        "orbit": one.orbit,
        "wyckoff": one.wyckoff,
        "multiplicity": len(one.frac_coords),
        "frac": _coordinates(one.frac_coords),
        "occupancy": _number(one.occupancy, 4),
        "around": ", ".join(f"{n} {element} at {distance:.2f} Å" for element, (n, distance) in around.items()),
        "above": None if one.energy is None or lowest is None else round(1000 * (one.energy - lowest), 1),
        "shift": _number(one.shift, 3),
        "settles_on": one.settles_on,
        "saturated": bool(one.saturated),
    }


def _number(value: float | None, digits: int) -> float | None:
    """Rounded, None where it is not a number: JSON has no NaN."""
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def _coordinates(values: np.ndarray | None) -> list[list[float]] | None:
    return None if values is None else np.round(np.asarray(values, dtype=np.float64), 6).tolist()
