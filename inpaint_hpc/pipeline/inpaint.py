"""The pipeline of one host: encode, sample, replace impossible samples, deduplicate, score, relax, rank.

Example:
    network = load_network()
    result = inpaint(network, host, {"Li": 1}, samples=16)
    print(result.table())
    best = result.structure(0)
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import MAX_ATOMIC_NUMBER, reading_notes
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.cells import generation_task
from inpaint_hpc.sampling.deduplication import SampleCluster, deduplicate, group_equal
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

from .candidate_order import order_note
from .confidence import first_confidence
from .guest_shells import with_coordination
from .known_limits import limit_notes
from .ordering_stage import draw_sequential, refiner, search, searched_candidates, searched_rows, sequential_candidates
from .provenance import provenance
from .ranking_stage import TaskCandidates, rank_by_energy
from .rejection_sampling import Progress, ValidSamples, draw_valid
from .relaxation_notes import relaxation_notes
from .results import DIVERGED, UNFINISHED, Candidate, InpaintResult
from .run_context import RunContext
from .settings import PipelineSettings
from .void_stage import looks_for_voids, void_candidates, void_note
from .wyckoff_cache import WyckoffCache

if TYPE_CHECKING:
    from inpaint_hpc.orderings.search_occupancy import OccupancySearchResult

GuestCounts = Mapping[Any, int] | Sequence[str | int]


def inpaint(
    network: Any,
    host: Crystal,
    guests: GuestCounts,
    samples: int = 16,
    *,
    device: Any = None,
    progress: Progress | None = None,
    **settings: Any,
) -> InpaintResult:
    """Place guests in one host.

    Args:
        network: a score network, see `load_network`.
        host: the crystal that is kept unchanged; it may already contain atoms of the guests' elements.
        guests: element -> count, or a list of elements: `{"Li": 4}`, `["Li", "Na"]`.
        samples: number of valid samples.
        device: torch device of sampling and CHGNet; by default that of the network.
        progress: called with (stage, done, total).
        settings: fields of `PipelineSettings` (score, relax, top_k, redraws, tolerance ...) and of `SamplingSettings`
            (steps, sampler, strategy, seed ...).

    Returns:
        Candidates, best first; none if every sample was impossible, as `notes` then states.

    Raises:
        InputError: no guests, unknown element, more guests than the cell can hold, a bad setting, not enough memory.
    """
    return inpaint_many(network, [host], guests, samples, device=device, progress=progress, **settings)[0]


def inpaint_many(
    network: Any,
    hosts: Sequence[Crystal],
    guests: GuestCounts | Sequence[GuestCounts],
    samples: int = 16,
    *,
    device: Any = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[InpaintResult]:
    """Place guests in several hosts, sampled together in full batches.  Arguments and errors as `inpaint`.

    Args:
        hosts: the hosts.
        guests: one description for all hosts, or a list with a mapping of element to count for each host.
    """
    one_each = not isinstance(guests, Mapping | str) and len(guests) > 0 and isinstance(guests[0], Mapping)
    per_host: list[Any] = list(guests) if one_each else [guests] * len(hosts)
    if len(per_host) != len(hosts):
        raise InputError(f"{len(hosts)} hosts but guests for {len(per_host)}")
    tasks = [Task(host, wanted) for host, wanted in zip(hosts, per_host, strict=True)]
    sampling, pipeline = _split_settings(samples, settings)
    return run_tasks(network, tasks, sampling, pipeline, device, progress)


def generate(
    network: Any,
    composition: str | Mapping[Any, int],
    lattice: np.ndarray | None = None,
    volume_per_atom: float | None = None,
    shape: Mapping[str, Any] | None = None,
    samples: int = 16,
    *,
    device: Any = None,
    progress: Progress | None = None,
    **settings: Any,
) -> InpaintResult:
    """Place all atoms of a composition in a cell.

    Args:
        composition: atoms in the cell, "Li4 Mn4 O8" or element -> count.
        lattice: rows a, b, c in A, (3, 3); or else
        volume_per_atom: A^3, with
        shape: family ('cubic' by default), axis ratios and angles, as in `bravais_lattice`.
        samples, device, progress, settings: as in `inpaint`.

    Returns:
        Candidates that differ according to pymatgen's `StructureMatcher`, best first, with their space groups.

    Raises:
        InputError: as `inpaint`, or a formula or cell that is not possible.
    """
    task = generation_task(composition, lattice, volume_per_atom, **(shape or {}))
    sampling, pipeline = _split_settings(samples, settings)
    return run_tasks(network, [task], sampling, pipeline, device, progress)[0]


def run_tasks(
    network: Any,
    tasks: Sequence[Task],
    sampling: SamplingSettings,
    pipeline: PipelineSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
) -> list[InpaintResult]:
    """Run the pipeline for tasks of any hosts; one result per task, in order; see `inpaint`."""
    pipeline = pipeline or PipelineSettings()
    _require_known_elements(tasks)
    where = device if device is not None else _device_of(network)
    run = RunContext(network, sampling, pipeline, where, progress)
    draws = draw_valid(network, tasks, sampling, pipeline.redraws, where, progress)
    rows = searched_rows(tasks, sampling, pipeline)
    chains = draw_sequential(run, tasks, rows)
    found = search(run, tasks, rows, draws, chains)
    placements = []
    origin = "joint" if sampling.strategy in ("auto", "conditional") else sampling.strategy
    for row, (task, drawn) in enumerate(zip(tasks, draws, strict=True)):
        start = time.perf_counter()
        wyckoff_cache = WyckoffCache(task.host, pipeline.symprec, pipeline.tolerance) if len(task.host) else None
        candidates = _describe(task, drawn, _clusters(task, drawn, pipeline), wyckoff_cache, pipeline, origin)
        if row in chains:
            candidates += sequential_candidates(task, chains[row], wyckoff_cache, pipeline, len(candidates))
            drawn.seconds["sequential"] = chains[row].seconds["sample"]
        if row in found:
            candidates += searched_candidates(task, found[row], wyckoff_cache, len(candidates))
            drawn.seconds |= found[row].seconds
        if candidates and looks_for_voids(task, sampling, pipeline):
            candidates += void_candidates(task, candidates, wyckoff_cache, pipeline)
        placements.append(TaskCandidates(task, wyckoff_cache, candidates, searched=row in found))
        drawn.seconds["deduplicate"] = time.perf_counter() - start
    if pipeline.score:
        refine = refiner(run)
        rank_by_energy(placements, pipeline, where, progress, refine=refine)
    for drawn, one in zip(draws, placements, strict=True):
        drawn.seconds.update(one.seconds)
    return [
        _result(run, one, drawn, found.get(row)) for row, (drawn, one) in enumerate(zip(draws, placements, strict=True))
    ]


def _require_known_elements(tasks: Sequence[Task]) -> None:
    for task in tasks:
        largest = max((*task.guests, *task.host.numbers.tolist()))
        if largest > MAX_ATOMIC_NUMBER:
            raise InputError(f"{task.name}: element {largest}; supported are 1 (H) to {MAX_ATOMIC_NUMBER} (Pu)")


def _clusters(task: Task, drawn: ValidSamples, pipeline: PipelineSettings) -> list[SampleCluster]:
    if len(task.host):
        return deduplicate(task.host, task.guests, drawn.frac_coords, pipeline.tolerance, pipeline.symprec)
    return _deduplicate_crystals([task.host.with_guests(task.guests, coords) for coords in drawn.frac_coords])


def _deduplicate_crystals(crystals: Sequence[Crystal]) -> list[SampleCluster]:
    """Clusters of whole crystals by pymatgen's `StructureMatcher`; the centre represents, `spread` is NaN."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(primitive_cell=False)
    structures = [crystal.to_structure() for crystal in crystals]
    equal = np.eye(len(structures), dtype=bool)
    for i in range(len(structures)):
        for j in range(i):
            equal[i, j] = equal[j, i] = matcher.fit(structures[i], structures[j])
    clusters = [
        SampleCluster(int(group[0]), np.sort(group), len(group) / len(crystals), math.nan)
        for group in group_equal(equal)
    ]
    return sorted(clusters, key=lambda c: (-len(c), int(c.members[0])))


def _describe(
    task: Task,
    drawn: ValidSamples,
    clusters: Sequence[SampleCluster],
    wyckoff_cache: WyckoffCache | None,
    pipeline: PipelineSettings,
    origin: str,
) -> list[Candidate]:
    """Candidates in the order of their agreement."""
    host = task.host
    candidates = []
    shown = drawn.frac_coords[[cluster.representative for cluster in clusters]]
    described = wyckoff_cache.describe(shown) if wyckoff_cache else []
    for rank, (cluster, coords) in enumerate(zip(clusters, shown, strict=True)):
        sites = described[rank * len(coords) : (rank + 1) * len(coords)]
        candidates.append(
            Candidate(
                rank=rank,
                guest_frac_coords=coords,
                sample=int(drawn.indices[cluster.representative]),
                members=tuple(sorted(int(i) for i in drawn.indices[cluster.members])),
                agreement=cluster.agreement,
                spread=cluster.spread if wyckoff_cache else None,
                min_distance=float(drawn.min_distance[cluster.representative]),
                multiplicity=tuple(multiplicity for multiplicity, _ in sites),
                wyckoff=tuple(label for _, label in sites),
                spacegroup=None
                if wyckoff_cache
                else spacegroup_symbol(host.with_guests(task.guests, coords), pipeline.symprec),
                origin=origin,
            )
        )
    return candidates


def _result(
    run: RunContext, one: TaskCandidates, drawn: ValidSamples, found: OccupancySearchResult | None
) -> InpaintResult:
    task, sampling, pipeline = one.task, run.sampling, run.pipeline
    candidates = with_coordination(task, one.candidates)
    weights = _weights(run.network)
    limits = limit_notes(run.network, task.host, task.guests, pipeline.chgnet if pipeline.score else None)
    notes = [*_notes(task, drawn, candidates, sampling, pipeline), *limits]
    return InpaintResult(
        host=task.host,
        guests=task.guests,
        candidates=tuple(candidates),
        n_drawn=drawn.n_drawn,
        n_invalid=drawn.n_drawn - len(drawn.indices),
        reasons=dict(drawn.reasons.most_common()),
        notes=(*notes, *(found.notes if found else ())),
        settings={**asdict(sampling), "nfe": sampling.nfe, **asdict(pipeline)},
        weights=weights,
        seconds=drawn.seconds,
        drawn=drawn,
        evaluations=one.evaluations + (found.evaluations if found else 0),
        networks=found.networks if found else (),
        confidence=None
        if limits
        else _confidence(run.network, task, candidates, len(drawn.indices), sampling, pipeline),
        host_energies=one.host_energies,
        provenance=provenance(sampling, pipeline, weights.get("sha256", "")),
    )


def _confidence(network, task: Task, candidates, n_valid: int, sampling, pipeline: PipelineSettings) -> float | None:
    """Of the first candidate, from joint samples; relaxation moves candidates and merges them."""
    info = getattr(network, "info", None)
    measured = sampling.strategy in ("auto", "conditional") and len(task.host) > 0 and not pipeline.relaxes
    return first_confidence(info.card, candidates, n_valid) if info is not None and measured else None


def _notes(
    task: Task,
    drawn: ValidSamples,
    candidates: Sequence[Candidate],
    sampling: SamplingSettings,
    pipeline: PipelineSettings,
) -> list[str]:
    from ase.data import chemical_symbols

    notes = reading_notes(task.host)
    for z in sorted(set(task.guests) & set(task.host.numbers.tolist())):
        count = int((task.host.numbers == z).sum())
        atoms = "atom; it stays" if count == 1 else "atoms; they stay"
        notes.append(f"the host already contains {count} {chemical_symbols[z]} {atoms} fixed")
    notes += void_note(task, candidates) + order_note(task, candidates)
    if not candidates:
        why = next(iter(drawn.reasons.most_common(1)), ("", 0))[0]
        notes.append(f"all {drawn.n_drawn} samples are impossible ({why}); ask for fewer guests or a larger cell")
    elif len(drawn.indices) < sampling.samples:
        notes.append(f"only {len(drawn.indices)} possible samples in {drawn.n_drawn} draws, not {sampling.samples}")
    failed = sum(c.error != "" and c.energy_per_atom is None for c in candidates)
    if failed:
        notes.append(f"CHGNet could not score {failed} of {len(candidates)} candidates")
    outcomes = Counter(c.relaxed.outcome for c in candidates if c.relaxed is not None)
    if outcomes[DIVERGED]:
        notes.append(
            f"{outcomes[DIVERGED]} of {outcomes.total()} relaxations diverged; they are ranked after the others"
        )
    if outcomes[UNFINISHED]:
        notes.append(
            f"{outcomes[UNFINISHED]} of {outcomes.total()} relaxations had not converged after "
            f"{pipeline.relax_steps} steps"
        )
    return notes + relaxation_notes(task, candidates)


def _weights(network: Any) -> dict[str, str]:
    info = getattr(network, "info", None)
    return {} if info is None else {"name": info.name, "sha256": info.sha256}


def _split_settings(samples: int, settings: Mapping[str, Any]) -> tuple[SamplingSettings, PipelineSettings]:
    """Assign settings by name to the sections they belong to."""
    ours, theirs = (tuple(kind.__dataclass_fields__) for kind in (PipelineSettings, SamplingSettings))
    unknown = set(settings) - {*ours, *theirs}
    if unknown:
        raise InputError(f"unknown setting '{sorted(unknown)[0]}'; choose from {', '.join([*theirs, *ours])}")
    pipeline = {name: value for name, value in settings.items() if name in ours}
    sampling = {name: value for name, value in settings.items() if name in theirs}
    return SamplingSettings(samples=samples, **sampling), PipelineSettings(**pipeline)


def _device_of(network: Any) -> Any:
    parameters = network.parameters() if hasattr(network, "parameters") else iter(())
    return next((p.device for p in parameters), "cpu")
