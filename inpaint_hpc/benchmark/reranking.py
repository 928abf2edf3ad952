"""The benefit of ranking by CHGNet: the best of several samples by energy against a random one of them.

The hosts are those of `reconstruction`: all atoms of an ion removed from a relaxed crystal, as many placed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.pipeline.inpaint import run_tasks
from inpaint_hpc.pipeline.ranking_stage import TaskCandidates, rank_by_energy
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.pipeline.wyckoff_cache import WyckoffCache
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.sampling.strategies import Network

WAYS = ("random", "agreement", "static", "relaxed", "any")


def rerank(
    network: Network,
    reference: Crystal,
    ion: int,
    sampling: SamplingSettings,
    pipeline: PipelineSettings,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """One row of the table: which choice of a sample matches the crystal that the host was made from.

    Matching is `StructureMatcher(ltol=0.2, stol=0.2).fit`, as in `reconstruct`.

    Args:
        network: a score network.
        reference: the whole crystal.
        ion: atomic number of the ion that is removed.
        sampling: settings; `samples` are drawn.
        pipeline: settings, with a relaxation.
        device: torch device of sampling and CHGNet.

    Returns:
        `name`, `guests`, `samples` (possible ones), `candidates` (placements that are not equal), `minima` (of these
        that were relaxed and are sound), and for each of `WAYS` a number in [0, 1], 0 without a possible sample:
        `random`, the share of samples that match; `agreement`, `static` and `relaxed`, whether the first placement
        matches when they are ranked by agreeing samples, by energy as placed, and by energy after relaxation (there the
        relaxed structure is matched); `any`, whether any sample matches.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher, target = StructureMatcher(ltol=0.2, stol=0.2), reference.to_structure()
    task = Task(reference.without(ion), [ion] * int((reference.numbers == ion).sum()))
    (result,) = run_tasks(network, [task], sampling, replace(pipeline, relax="none"), device)
    row = {"name": reference.name, "guests": len(task.guests), "samples": result.n_valid, "candidates": len(result)}
    if not result.candidates:
        return row | {"minima": 0, **dict.fromkeys(WAYS, 0.0)}

    def matches(crystal: Crystal) -> float:
        return float(matcher.fit(target, crystal.to_structure()))

    placed = [matches(result.crystal(rank, relaxed=False)) for rank in range(len(result))]
    assert result.drawn is not None
    samples = [matches(task.host.with_guests(task.guests, coords)) for coords in result.drawn.frac_coords]
    most = max(range(len(result)), key=lambda rank: result.candidates[rank].count)
    wyckoff_cache = WyckoffCache(task.host, pipeline.symprec, pipeline.tolerance)
    relaxing = TaskCandidates(task, wyckoff_cache, list(result.candidates))
    rank_by_energy([relaxing], pipeline, device or "cpu")
    sound = [c.relaxed for c in relaxing.candidates if c.relaxed is not None and c.relaxed.sound]
    best = sound[0].crystal(task.host, task.guests) if sound else result.crystal(0, relaxed=False)
    return row | {
        "minima": len(sound),
        "random": float(np.mean(samples)),
        "agreement": placed[most],
        "static": placed[0],
        "relaxed": matches(best),
        "any": max(samples),
    }


def share(rows: Sequence[Mapping[str, Any]], way: str, resamples: int = 5000, seed: int = 0) -> tuple[float, ...]:
    """Mean of a column over hosts and its 95 % bootstrap interval: (mean, low, high), NaN without rows."""
    return _interval(np.array([row[way] for row in rows], dtype=float), resamples, seed)


def gain(
    rows: Sequence[Mapping[str, Any]], better: str, worse: str, resamples: int = 5000, seed: int = 0
) -> tuple[float, ...]:
    """Mean difference of two columns, host by host, with its 95 % bootstrap interval."""
    return _interval(np.array([row[better] - row[worse] for row in rows], dtype=float), resamples, seed)


def _interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, ...]:
    if not len(values):
        return (np.nan,) * 3
    draws = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
