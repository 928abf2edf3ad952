"""The tool's first candidate: all atoms of an ion are removed from a relaxed crystal, placed again, ranked by energy.

The protocol of `reconstruction`, applied to the tool's default output instead of single samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.pipeline.inpaint import inpaint

if TYPE_CHECKING:
    from inpaint_hpc.sampling.strategies import Network


def first_candidate(
    network: Network, reference: Crystal, ion: int, samples: int = 16, **settings: Any
) -> dict[str, Any]:
    """One host: whether candidates match the crystal that it was made from, by `StructureMatcher(0.2, 0.2).fit`.

    Args:
        network: a score network.
        reference: the full crystal.
        ion: atomic number of the ion that is removed.
        samples: joint samples.
        settings: of `inpaint`.

    Returns:
        `any` of the candidates, the first one (`top1`), the first of those that joint samples show (`joint`) and of
        those on the site network (`network`; with one guest there is none and it is that of the samples); CHGNet
        evaluations and seconds of the processor.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher, target = StructureMatcher(ltol=0.2, stol=0.2), reference.to_structure()
    n_guests = int((reference.numbers == ion).sum())
    start = time.process_time()
    result = inpaint(network, reference.without(ion), [ion] * n_guests, samples, **settings)
    seconds = time.process_time() - start
    fits = [bool(matcher.fit(target, structure)) for structure in map(result.structure, range(len(result)))]
    origins = [candidate.origin.split("+") for candidate in result.candidates]
    sampled = [fit for fit, origin in zip(fits, origins, strict=True) if "joint" in origin]
    on_sites = [fit for fit, origin in zip(fits, origins, strict=True) if origin != ["joint"]] or sampled
    return {
        "id": reference.name,
        "ion": ion,
        "n_guests": n_guests,
        "atoms": len(reference),
        "any": any(fits),
        "top1": bool(fits) and fits[0],
        "joint": bool(sampled) and sampled[0],
        "network": bool(on_sites) and on_sites[0],
        "candidates": len(result),
        "evaluations": result.evaluations,
        "cpu_seconds": round(seconds, 2),
    }


def summarize_first(rows: Sequence[dict[str, Any]], share: Callable[[Sequence[bool]], Any]) -> dict[str, Any]:
    """Shares of rows with intervals, and mean costs."""
    summary: dict[str, Any] = {"hosts": len(rows)}
    for key in ("joint", "network", "top1", "any"):
        summary[key] = share([row[key] for row in rows])
    for key in ("evaluations", "candidates", "cpu_seconds"):
        summary[key] = sum(row[key] for row in rows) / len(rows) if rows else None
    return summary
