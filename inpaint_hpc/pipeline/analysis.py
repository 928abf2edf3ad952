"""What is computed for each task by itself, before and after the energies: no networks, no other tasks.

Both steps are functions of what was drawn and found for the task alone, and what goes in and comes out is small and can
be pickled: they run here or in other processes (`analysis_pool.py`), with the same result.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import reading_notes
from inpaint_hpc.crystals.symmetry import spacegroup_symbol
from inpaint_hpc.network.weights_info import WeightsInfo
from inpaint_hpc.sampling.deduplication import SampleCluster, deduplicate, group_equal
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

from .candidate_order import order_note
from .confidence import first_confidence
from .guest_shells import with_coordination
from .known_limits import limit_notes
from .ordering_stage import searched_candidates, sequential_candidates, without_samples
from .provenance import provenance
from .rejection_sampling import ValidSamples
from .relaxation_notes import relaxation_notes
from .results import DIVERGED, UNFINISHED, Candidate, HostEnergies, InpaintResult
from .settings import PipelineSettings
from .shortlist import VOID
from .void_stage import looks_for_voids, void_note, void_places
from .wyckoff_cache import WyckoffCache

if TYPE_CHECKING:
    from inpaint_hpc.orderings.search_occupancy import OccupancySearchResult

OF_CARD = ("elements", "confidence")  # what a card says that the analysis needs


@dataclass(frozen=True)
class AnalysisSettings:
    """What the analysis of all tasks depends on.

    Attributes:
        sampling, pipeline: settings.
        info: of the score network's weights, with `OF_CARD` of their card; None for a network without.
    """

    sampling: SamplingSettings
    pipeline: PipelineSettings
    info: WeightsInfo | None

    @classmethod
    def of(cls, network: object, sampling: SamplingSettings, pipeline: PipelineSettings) -> AnalysisSettings:
        """Those of a run with this network."""
        info: WeightsInfo | None = getattr(network, "info", None)
        if info is not None:
            info = WeightsInfo(
                info.name, info.path, {key: info.card[key] for key in (*OF_CARD, "sha256") if key in info.card}
            )
        return cls(sampling, pipeline, info)


@dataclass(frozen=True, eq=False)
class DrawnTask:
    """A task before its energies.

    Attributes:
        task: the task.
        drawn: its joint samples.
        chain: its sequential samples.
        found: placements of its search.
        settings: of the run.
    """

    task: Task
    drawn: ValidSamples
    chain: ValidSamples | None
    found: OccupancySearchResult | None
    settings: AnalysisSettings

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name

    @classmethod
    def of(
        cls,
        task: Task,
        drawn: ValidSamples,
        chain: ValidSamples | None,
        found: OccupancySearchResult | None,
        settings: AnalysisSettings,
    ) -> DrawnTask:
        """Only with what the candidates are made from: not every draw, no site networks."""
        return cls(
            task,
            replace(drawn, parts=[]),
            None if chain is None else replace(chain, parts=[]),
            None if found is None else replace(found, networks=()),
            settings,
        )


@dataclass(frozen=True, eq=False)
class ScoredTask:
    """A task with all that its result is made from.

    Attributes:
        task: the task.
        candidates: ranked.
        drawn: its joint samples, with wall times of all stages.
        found: of its search.
        evaluations, host_energies: as in `TaskCandidates`.
        has_void: whether the host has empty space, which is known from drawing.
        settings: of the run.
    """

    task: Task
    candidates: list[Candidate]
    drawn: ValidSamples
    found: OccupancySearchResult | None
    evaluations: int
    host_energies: HostEnergies | None
    has_void: bool
    settings: AnalysisSettings

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name


def candidates_of(item: DrawnTask) -> tuple[list[Candidate], WyckoffCache | None, float]:
    """Candidates of a task without energies, the sites seen on the way, and the wall time in s."""
    start = time.perf_counter()
    task, drawn, sampling, pipeline = item.task, item.drawn, item.settings.sampling, item.settings.pipeline
    origin = "joint" if sampling.strategy in ("auto", "conditional") else sampling.strategy
    cache = WyckoffCache(task.host, pipeline.symprec, pipeline.tolerance) if len(task.host) else None
    clusters = _clusters(task, drawn, pipeline)
    voids = np.zeros((0, 1, 3))
    if cache is not None and clusters and looks_for_voids(task, sampling, pipeline):
        shown = drawn.frac_coords[[cluster.representative for cluster in clusters]][:, 0]
        voids = void_places(task, shown, pipeline)
        cache.describe(np.concatenate([shown, voids[:, 0]]))  # both kinds labelled by one call of spglib
    candidates = _describe(task, drawn, clusters, cache, pipeline, origin)
    if item.chain is not None:
        candidates += sequential_candidates(task, item.chain, cache, pipeline, len(candidates))
    if item.found is not None:
        candidates += searched_candidates(task, item.found, cache, len(candidates))
    if len(voids):
        candidates += without_samples(task, voids, [VOID] * len(voids), cache, len(candidates))
    return candidates, cache, time.perf_counter() - start


def result_of(item: ScoredTask) -> InpaintResult:
    """The result of a task."""
    task, settings, drawn, found = item.task, item.settings, item.drawn, item.found
    sampling, pipeline, info = settings.sampling, settings.pipeline, settings.info
    candidates = with_coordination(task, item.candidates)
    weights = {} if info is None else {"name": info.name, "sha256": info.sha256}
    potential = pipeline.chgnet if pipeline.score else None
    limits = limit_notes(settings, task.host, task.guests, potential, item.has_void)
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
        evaluations=item.evaluations + (found.evaluations if found else 0),
        networks=found.networks if found else (),
        confidence=None if limits else _confidence(settings, task, candidates, len(drawn.indices)),
        host_energies=item.host_energies,
        provenance=provenance(sampling, pipeline, weights.get("sha256", "")),
    )


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


def _confidence(settings: AnalysisSettings, task: Task, candidates: Sequence[Candidate], n_valid: int) -> float | None:
    """Of the first candidate, from joint samples; relaxation moves candidates and merges them."""
    joint = settings.sampling.strategy in ("auto", "conditional")
    measured = joint and len(task.host) > 0 and not settings.pipeline.relaxes
    return first_confidence(settings.info.card, candidates, n_valid) if settings.info is not None and measured else None


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
