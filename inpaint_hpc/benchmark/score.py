"""Scores of a campaign that took ions out of crystals and placed them again: its archive keeps where they were."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.row_table import Rows
from inpaint_hpc.archive.rows import Candidate
from inpaint_hpc.crystals.checking import READING_NOTES
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.placement_distances import STOL, SYMPREC, Placed, compare_placements, tolerance

from .choosing import COUNT, FRAMEWORK, SPECIES, main_anion
from .metrics import share_of

GROUPS = {"1": (1, 1), "2-3": (2, 3), "4-7": (4, 7), "8+": (8, 10**6)}  # numbers of guests
# Ranges of the training distance; sorted by name they are sorted by size.
DISTANCES = {"0-0.02": 0.02, "0.02-0.05": 0.05, "0.05-0.1": 0.1, "0.1-0.2": 0.2, "0.2+": 1.0}
SHARES = ("one_sample", "top1", "match_strict", "match_default", "match_loose", "any_k", "les", "chance")
FIRST = (1, 2, 3, 5, 10, 32)  # candidates that recall is given for


@dataclass(frozen=True)
class ScoredTask:
    """What came of one task, against where its guests were.

    Attributes:
        task_id, host_id, host, formula: of the task and its host.
        guests: symbols and numbers of the guests, e.g. 'Li2'.
        n_guests, n_atoms: guests, and host atoms.
        drawn: samples, possible or not.
        one_sample: share of these that are right.
        top1: the first candidate is right; false without candidates.
        any: one of the candidates is right.
        right_rank: rank of the first that is right, None without one.
        right_by_agreement: the same where candidates are ordered by the share of samples that agree.
        candidates: number of candidates.
        rmsd: of the guests of the first candidate from their places, A; None beyond 3 A.
        largest: of these the one farthest from its place, A; None likewise.
        sample_rmsd: of the samples that are right, median, A; None without one.
        evaluations: energies computed until candidates were ranked as placed; None where not known.
        seconds: wall time.
        failed: the task has no result, which counts as wrong.
        les: after full relaxation the first candidate matches or is as low as the reference; None where not computed.
        energy_deviation: energy of the first candidate as handed out, less that of the reference as given, eV per atom.
        max_force, reference_max_force: largest force in them, eV/A.
        chance: share of random placements that are right; None where not computed.
        match_strict, match_default, match_loose: verdicts of StructureMatcher on the first candidate, see `matchers`;
            None where not computed.
        training_distance: of the composition, host with its ions, from the nearest one of the training set, see
            `formula_distances`; None where not computed.
        framework: what is drawn again for intervals: the host's column of that name, or its id.
        info: further columns of the host's file.
    """

    task_id: str
    host_id: str
    host: str
    formula: str
    guests: str
    n_guests: int
    n_atoms: int
    drawn: int
    one_sample: float
    top1: bool
    any: bool
    right_rank: int | None
    right_by_agreement: int | None
    candidates: int
    rmsd: float | None
    largest: float | None
    sample_rmsd: float | None
    evaluations: int | None
    seconds: float
    failed: bool
    les: bool | None = None
    energy_deviation: float | None = None
    max_force: float | None = None
    reference_max_force: float | None = None
    chance: float | None = None
    match_strict: bool | None = None
    match_default: bool | None = None
    match_loose: bool | None = None
    training_distance: float | None = None
    framework: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def ion(self) -> str:
        """Symbols of the guests without their numbers."""
        return re.sub(r"\d", "", self.guests)

    @property
    def guest_range(self) -> str:
        """The group of `GROUPS` that the number of guests belongs to."""
        return next(name for name, (low, high) in GROUPS.items() if low <= self.n_guests <= high)

    @property
    def anion(self) -> str:
        """Of `ANIONS`, the most electronegative one (Pauling) that the host holds; 'none' without one."""
        return main_anion(re.findall(r"[A-Z][a-z]?", self.formula))

    @property
    def training_range(self) -> str:
        """The range of `training_distance`: '0' has the formula of a training crystal."""
        distance = self.training_distance
        if distance is None:
            return "unknown"
        return "0" if distance < 1e-4 else next(name for name, high in DISTANCES.items() if distance <= high)

    def row(self) -> dict[str, Any]:
        """Row of a table; names carry units.  Columns of the host's file come last, save for names that are taken."""
        units = {
            "rmsd": "rmsd_A",
            "largest": "largest_A",
            "sample_rmsd": "sample_rmsd_A",
            "seconds": "seconds_s",
            "energy_deviation": "energy_deviation_eV_per_atom",
            "max_force": "max_force_eV_per_A",
            "reference_max_force": "reference_max_force_eV_per_A",
        }
        own = {units.get(name, name): value for name, value in asdict(self).items() if name != "info"}
        own["anion"] = self.anion
        return {**own, **{name: value for name, value in self.info.items() if name not in own}}


def score_record(record: TaskRecord, symprec: float = SYMPREC, stol: float | None = STOL) -> ScoredTask | None:
    """The score of a task; None where its guests were not taken out of a crystal.

    With `stol` None a placement is right up to what the record itself says, 0.2 (V / N)^(1/3) where it says nothing.

    A candidate is taken at rest where it was relaxed, in fractional coordinates of the cell, as placed otherwise.
    """
    if record.reference_frac_coords is None or not len(record.host):
        return None
    drawn, found = placed(record, symprec, stol)
    right = np.flatnonzero(found.right)
    agreements = [-_agreement(one) for one in record.candidates]
    agreed = np.flatnonzero(found.right[np.argsort(agreements, kind="stable")])
    first = found.rmsd[0] if len(found.rmsd) else np.inf
    return ScoredTask(
        task_id=record.task_id,
        host_id=record.host_id,
        host=record.host.name,
        formula=record.host.formula,
        guests=_guests(record.guests),
        n_guests=len(record.guests),
        n_atoms=len(record.host),
        drawn=len(drawn.rmsd),
        one_sample=float(drawn.right.mean()) if len(drawn.rmsd) else 0.0,
        top1=bool(len(right) and right[0] == 0),
        any=bool(len(right)),
        right_rank=int(right[0]) if len(right) else None,
        right_by_agreement=int(agreed[0]) if len(agreed) else None,
        candidates=len(found.rmsd),
        rmsd=float(first) if np.isfinite(first) else None,
        largest=float(found.largest[0]) if np.isfinite(first) else None,
        sample_rmsd=float(np.median(drawn.rmsd[drawn.right])) if drawn.right.any() else None,
        evaluations=record.n_evaluations,
        seconds=float(sum(record.seconds.values())),
        failed=record.failed,
        framework=str(record.host.info.get(FRAMEWORK) or record.host_id),
        info={
            name: value
            for name, value in record.host.info.items()
            if isinstance(value, bool | int | float | str) and name not in (SPECIES, COUNT, READING_NOTES)
        },
    )


def score_tasks(
    records: Iterable[TaskRecord],
    progress: Callable[[int], None] | None = None,
    symprec: float = SYMPREC,
    stol: float = STOL,
) -> list[ScoredTask]:
    """Scores of all tasks whose guests were taken out of crystals.

    Args:
        records: of an archive.
        progress: called with the number of tasks so far.
        symprec: distance tolerance in A of the hosts' symmetry.
        stol: as `compare_placements`.

    Raises:
        InputError: there is no such task.
    """
    scored = []
    for done, record in enumerate(records, start=1):
        one = score_record(record, symprec, stol)
        if one is not None:
            scored.append(one)
        if progress is not None:
            progress(done)
    if not scored:
        raise InputError(
            "no task has a reference: the guests were not taken out of crystals (`remove:` in the configuration)"
        )
    return scored


def summary(scored: Sequence[ScoredTask], by: str = "guests") -> list[dict[str, Any]]:
    """Shares of hosts, one row for each kind of task and, last, all of them.

    Args:
        scored: of `score_tasks`.
        by: 'ion' (its symbol, however many), 'n_guests', 'guest_range' (`GROUPS`), or another attribute.

    Returns:
        Rows with `group`, `tasks`, `hosts`, `frameworks`, `failed`, the shares `one_sample`, `top1`, `any_k` and, where
        they were computed, `les`, `chance` and those of `MATCHERS`, each with `_low` and `_high`, the 95 % interval of
        `share_of` over frameworks; `recall` and `recall_by_agreement`, the share with a right one among the first k
        candidates, by k; `within_A`, the share whose first candidate has an RMSD of at most so many A;
        `guest_rmsd_median` of the first candidates that are right, A; means of `candidates`, `evaluations` and
        `seconds`.
    """
    groups: dict[Any, list[ScoredTask]] = {}
    for one in scored:
        groups.setdefault(getattr(one, by), []).append(one)
    rows = [_summed(str(key), groups[key]) for key in sorted(groups)]
    return rows if len(rows) == 1 else [*rows, _summed("all", scored)]


def _summed(group: str, scored: Sequence[ScoredTask]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "group": group,
        "tasks": len(scored),
        "hosts": len({one.host_id for one in scored}),
        "frameworks": len({one.framework for one in scored}),
        "failed": sum(one.failed for one in scored),
    }
    frameworks = [one.framework for one in scored]
    for name in SHARES:
        values = [getattr(one, {"any_k": "any"}.get(name, name)) for one in scored]
        if None in values:
            continue
        share = share_of([float(value) for value in values], frameworks, wilson=name != "chance")
        row |= {name: share.mean, f"{name}_low": share.low, f"{name}_high": share.high}
    right = [one.rmsd for one in scored if one.top1 and one.rmsd is not None]
    evaluations = [one.evaluations for one in scored if one.evaluations is not None]
    for name, ranks in (
        ("recall", [one.right_rank for one in scored]),
        ("recall_by_agreement", [one.right_by_agreement for one in scored]),
    ):
        row[name] = {str(k): float(np.mean([rank is not None and rank < k for rank in ranks])) for k in FIRST}
    row["within_A"] = {
        f"{limit:.1f}": float(np.mean([one.rmsd is not None and one.rmsd <= limit for one in scored]))
        for limit in np.arange(1, 31) / 10.0
    }
    return row | {
        **_deviations(scored),
        "guest_rmsd_median": float(np.median(right)) if right else None,
        "candidates": float(np.mean([one.candidates for one in scored])),
        "evaluations": float(np.mean(evaluations)) if evaluations else None,
        "seconds": float(np.mean([one.seconds for one in scored])),
    }


def _deviations(scored: Sequence[ScoredTask]) -> dict[str, float]:
    """Medians over tasks where candidate and reference were evaluated; nothing where none was."""
    known = [one for one in scored if one.energy_deviation is not None]
    if not known:
        return {}
    values = {
        "energy_deviation_median_eV_per_atom": [abs(one.energy_deviation or 0.0) for one in known],
        "max_force_median_eV_per_A": [one.max_force for one in known],
        "reference_max_force_median_eV_per_A": [one.reference_max_force for one in known],
    }
    return {name: float(np.median(np.array(of, dtype=np.float64))) for name, of in values.items()}


def placed(record: TaskRecord, symprec: float = SYMPREC, stol: float | None = STOL) -> tuple[Placed, Placed]:
    """Samples and candidates against the reference: as stored, or compared here for archives that do not say."""
    own, stol = stol is None, STOL if stol is None else stol
    limit = tolerance(record.host, len(record.guests), stol)
    if own and record.reference_tolerance is not None:
        limit = record.reference_tolerance
    if record.reference_tolerance is not None and symprec == SYMPREC:
        return _stored(record.samples, limit), _stored(record.candidates, limit)
    assert record.reference_frac_coords is not None
    compared = partial(compare_placements, record.host, record.guests, record.reference_frac_coords)
    samples = record.samples["guest_frac_coords"] if len(record.samples) else np.zeros(0)
    at_rest = np.array([one.guests_at_rest for one in record.candidates])
    return compared(samples, symprec, stol), compared(at_rest, symprec, stol)


def _stored(rows: Rows[Any], limit: float) -> Placed:
    return Placed(_distances(rows, "reference_rmsd"), _distances(rows, "reference_distance"), limit)


def _distances(rows: Rows[Any], name: str) -> np.ndarray:
    """Stored distances, A (S,); infinite where they are beyond what is looked at."""
    values = rows[name] if len(rows) else None
    return np.full(len(rows), np.inf) if values is None else np.nan_to_num(values, nan=np.inf)


def _agreement(candidate: Candidate) -> float:
    """As placed: the minima of relaxation join the samples of several."""
    return candidate.agreement if candidate.placed_agreement is None else candidate.placed_agreement


def _guests(numbers: Sequence[int]) -> str:
    from ase.data import chemical_symbols

    kinds = sorted(set(numbers))
    return " ".join(f"{chemical_symbols[z]}{numbers.count(z) if numbers.count(z) > 1 else ''}" for z in kinds)
