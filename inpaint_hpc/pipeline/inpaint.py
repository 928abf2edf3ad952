"""The pipeline of one host: encode, sample, replace impossible samples, deduplicate, score, relax, rank.

Example:
    network = load_network()
    result = inpaint(network, host, {"Li": 1}, samples=16)
    print(result.table())
    best = result.structure(0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import MAX_ATOMIC_NUMBER
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.cells import generation_task
from inpaint_hpc.sampling.empty_space import has_void
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Apply, Task

from .analysis import AnalysisSettings, DrawnTask, ScoredTask, candidates_of, result_of
from .ordering_stage import draw_sequential, refiner, search, searched_rows
from .ranking_stage import TaskCandidates, rank_by_energy
from .rejection_sampling import Progress, draw_valid
from .results import InpaintResult
from .run_context import RunContext
from .settings import PipelineSettings

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
    analysis: Apply = map,
) -> list[InpaintResult]:
    """Run the pipeline for tasks of any hosts; one result per task, in order; see `inpaint`."""
    return list(analysis(result_of, scored_tasks(network, tasks, sampling, pipeline, device, progress, analysis)))


def scored_tasks(
    network: Any,
    tasks: Sequence[Task],
    sampling: SamplingSettings,
    pipeline: PipelineSettings | None = None,
    device: Any = None,
    progress: Progress | None = None,
    analysis: Apply = map,
) -> list[ScoredTask]:
    """The same up to where `result_of` makes the results, for callers that make more of them in the same step."""
    pipeline = pipeline or PipelineSettings()
    _require_known_elements(tasks)
    where = device if device is not None else _device_of(network)
    run = RunContext(network, sampling, pipeline, where, progress, analysis)
    draws = draw_valid(network, tasks, sampling, pipeline.redraws, where, progress)
    rows = searched_rows(tasks, sampling, pipeline)
    chains = draw_sequential(run, tasks, rows)
    found = search(run, tasks, rows, draws, chains)
    settings = AnalysisSettings.of(network, sampling, pipeline)
    items = [
        DrawnTask.of(task, drawn, chains.get(row), found.get(row), settings)
        for row, (task, drawn) in enumerate(zip(tasks, draws, strict=True))
    ]
    placements = []
    for row, (candidates, cache, seconds) in enumerate(analysis(candidates_of, items)):
        if row in chains:
            draws[row].seconds["sequential"] = chains[row].seconds["sample"]
        if row in found:
            draws[row].seconds |= found[row].seconds
        draws[row].seconds["deduplicate"] = seconds
        placements.append(TaskCandidates(tasks[row], cache, candidates, searched=row in found))
    if pipeline.score:
        rank_by_energy(placements, pipeline, where, progress, refine=refiner(run), analysis=analysis)
    for drawn, one in zip(draws, placements, strict=True):
        drawn.seconds.update(one.seconds)
    return [
        ScoredTask(
            one.task,
            one.candidates,
            drawn,
            found.get(row),
            one.evaluations,
            one.host_energies,
            has_void(one.task.host),
            settings,
        )
        for row, (drawn, one) in enumerate(zip(draws, placements, strict=True))
    ]


def _require_known_elements(tasks: Sequence[Task]) -> None:
    for task in tasks:
        largest = max((*task.guests, *task.host.numbers.tolist()))
        if largest > MAX_ATOMIC_NUMBER:
            raise InputError(f"{task.name}: element {largest}; supported are 1 (H) to {MAX_ATOMIC_NUMBER} (Pu)")


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
