"""LES of a benchmark: after full relaxation the first candidate matches the reference, or is about as low in energy.

Full relaxation moves all atoms and the cell in CHGNet's forces.  A state counts that matches the reference by
`StructureMatcher(ltol=0.3, stol=0.3)`, or lies at most 5 meV per atom above the reference, relaxed in the same way.
The energies are kept in a file, so that none is computed twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.crystals.batch import Crystal, content_bytes
from inpaint_hpc.files import atomic_path
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluation, evaluate
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
from inpaint_hpc.scoring.relaxation.relax import Relaxation, relax

from .many_guests import FULL_RELAXATION, SAME_STATE
from .matchers import reference_of
from .score import ScoredTask

BATCH = 8  # tasks that are relaxed at once, after which the file is written
HOW = {"chgnet": DEFAULT_WEIGHTS, "fmax_eV_per_A": FULL_RELAXATION.fmax, "steps": FULL_RELAXATION.max_steps}


@dataclass(frozen=True)
class LowestState:
    """The first candidate of a task and its reference after full relaxation.

    Attributes:
        digest: sha256 of both before it, so that another candidate is not taken for this one.
        energy, reference_energy: eV per atom; None where the relaxation diverged.
        matches: the relaxed candidate matches the reference.
        les: it matches or is as low.
        energy_deviation: energy of the candidate as it was handed out, less that of the reference as given, eV per
            atom; None where one of them has none, or in files of before it was kept.
        max_force, reference_max_force: largest force in them, eV/A.
    """

    digest: str
    energy: float | None
    reference_energy: float | None
    matches: bool
    les: bool
    energy_deviation: float | None = None
    max_force: float | None = None
    reference_max_force: float | None = None


def lowest_states(
    records: Iterable[TaskRecord],
    kept: Path,
    references: Mapping[str, Crystal],
    wanted: Container[str] | None = None,
    device: object = None,
    progress: Callable[[int], None] | None = None,
    compute: bool = True,
) -> dict[str, LowestState]:
    """LES by task id, of the tasks that have a candidate; what `kept` has already is not computed again.

    Args:
        records: of an archive.
        kept: JSON file of results, written after every few tasks.
        references: whole crystals by name of the host; by default the host with its guests where they were.
        wanted: ids of the tasks that count; None counts all.
        device: torch device.
        progress: called with the number of tasks that have been relaxed since the last call.
        compute: relax what is not in `kept`; otherwise it is left out.
    """
    known = _read(kept)
    found: dict[str, LowestState] = {}
    waiting: list[tuple[str, str, Crystal, Crystal]] = []
    for record in records:
        if record.reference_frac_coords is None or not len(record.candidates):
            continue
        if wanted is not None and record.task_id not in wanted:
            continue
        best = record.candidates[0].relaxed
        candidate = record.crystal(0, relaxed=best is not None and best.guest_frac_coords is not None)
        reference = reference_of(record, references)
        digest = hashlib.sha256(_content(candidate) + _content(reference)).hexdigest()
        if record.task_id in known and known[record.task_id].digest == digest:
            found[record.task_id] = known[record.task_id]
        elif compute:
            waiting.append((record.task_id, digest, candidate, reference))
    # Similar sizes relax in similar time, which keeps batches full.
    waiting.sort(key=lambda task: len(task[2]))
    for start in range(0, len(waiting), BATCH):
        part = waiting[start : start + BATCH]
        crystals = [crystal for _, _, candidate, reference in part for crystal in (candidate, reference)]
        relaxed = relax(crystals, settings=FULL_RELAXATION, device=device)
        given = evaluate(crystals, device=device, what="ef")
        for k, (task, digest, _, reference) in enumerate(part):
            energy, force, known_force = _deviations(given, 2 * k)
            state = _state(digest, relaxed[2 * k], relaxed[2 * k + 1], reference)
            found[task] = replace(state, energy_deviation=energy, max_force=force, reference_max_force=known_force)
        _write(kept, {**known, **found})
        if progress is not None:
            progress(len(part))
    return found


def _state(digest: str, candidate: Relaxation, reference: Relaxation, known: Crystal) -> LowestState:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    energy, right = (None if one.diverged else one.energy_per_atom for one in (candidate, reference))
    matches = energy is not None and bool(
        StructureMatcher(ltol=0.3, stol=0.3).fit(known.to_structure(), candidate.crystal.to_structure())
    )
    low = energy is not None and right is not None and energy <= right + SAME_STATE
    return LowestState(digest, energy, right, matches, matches or low)


def _deviations(given: BatchEvaluation, k: int) -> tuple[float, float, float] | tuple[None, None, None]:
    """Of candidate k and its reference, k + 1, before relaxation, what Dai et al. compare: difference in energy per
    atom, and largest forces."""
    if given.errors[k] or given.errors[k + 1] or given.forces is None:
        return None, None, None
    first, second = (float(given.energy_per_atom[row]) for row in (k, k + 1))
    one, other = (float(given.forces[given.atoms(row)].norm(dim=1).max()) for row in (k, k + 1))
    return first - second, one, other


def with_states(scored: Sequence[ScoredTask], states: Mapping[str, LowestState]) -> list[ScoredTask]:
    """Scores with what is known of the lowest states; a task without a candidate has found none at all."""

    def joined(one: ScoredTask) -> ScoredTask:
        state = states.get(one.task_id)
        if state is None:
            return replace(one, les=False)
        names = ("les", "energy_deviation", "max_force", "reference_max_force")
        return replace(one, **{name: getattr(state, name) for name in names})

    return [joined(one) for one in scored]


def _content(crystal: Crystal) -> bytes:
    return content_bytes(crystal.numbers, crystal.frac_coords, crystal.lattice)


def _read(kept: Path) -> dict[str, LowestState]:
    if not kept.exists():
        return {}
    document: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    if document["how"] != HOW:
        return {}
    return {task: LowestState(**state) for task, state in document["tasks"].items()}


def _write(kept: Path, states: Mapping[str, LowestState]) -> None:
    document = {"how": HOW, "tasks": {task: asdict(states[task]) for task in sorted(states)}}
    with atomic_path(kept) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
