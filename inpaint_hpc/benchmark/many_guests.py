"""Several guests in empty hosts: whether the tool returns the right placement, ranks it first, and relaxes into it.

A pair is an empty host and the discharged crystal that it should become.  Matches are `StructureMatcher(ltol=0.3,
stol=0.3).fit` with the reference: the host relaxed without its guests, so exact agreement cannot be expected.

LES, the share of hosts where a search finds a state as low as the reference's: after full relaxation with CHGNet the
first candidate matches the reference, or is at most 5 meV per atom above the reference relaxed in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import ElectrodePair
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.pipeline.ranking_stage import lowest_and_agreed, most_promising
from inpaint_hpc.sampling.deduplication import deduplicate
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.relaxation.relax import Relaxation, RelaxSettings, relax

from .random_placement import random_valid, seeded
from .score import GROUPS

if TYPE_CHECKING:
    from inpaint_hpc.sampling.strategies import Network

SHORT, SHORT_STEPS = 8, 15  # candidates whose guests are relaxed, and by how many steps
FULL, FULL_RELAXATION = 2, RelaxSettings("cell", fmax=0.1, max_steps=100)  # candidates relaxed fully, and how
SAME_STATE = 5e-3  # eV per atom


@dataclass(frozen=True)
class Stages:
    """Results of the ranking by stages.

    Attributes:
        static, short, full: whether the first candidate matches: as placed; after a short relaxation of the guests of
            the best eight; after full relaxation of the best two of these.
        energy: of the last, eV per atom, infinite without any.
        evaluations: CHGNet evaluations of the two relaxations.
    """

    static: bool
    short: bool
    full: bool
    energy: float
    evaluations: int


def hand_out(
    network: Network, pair: ElectrodePair, samples: int = 16, seed: int = 0, **settings: Any
) -> dict[str, Any]:
    """What the tool returns for a pair, compared with joint sampling alone and the site network alone.

    Returns:
        A row: any of the joint samples, any candidate from the site network, any candidate at all that matches; whether
        the first by energy does, among all and among those that samples show; candidates, CHGNet evaluations, wall and
        CPU time in s.
    """
    start, cpu = time.perf_counter(), time.process_time()
    result = inpaint(network, pair.host, [pair.guest_z] * pair.n_guest, samples, seed=seed, **settings)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    match = _Matcher(pair, 0.3)
    assert result.drawn is not None
    joint = result.drawn.frac_coords
    clusters = deduplicate(pair.host, result.guests, joint)
    fits = [match(result.crystal(rank)) for rank in range(len(result))]
    sampled = [rank for rank, c in enumerate(result.candidates) if "joint" in c.origin]
    on_sites = [rank for rank, c in enumerate(result.candidates) if c.origin != "joint"]
    any_joint = any(fits[rank] for rank in sampled) or any(
        match(pair.host.with_guests(result.guests, joint[c.representative])) for c in clusters
    )
    return {
        "id": pair.name,
        "guest_z": pair.guest_z,
        "n_guests": pair.n_guest,
        "atoms": len(pair.reference),
        "joint_any": any_joint,
        "network_any": any(fits[rank] for rank in on_sites),
        "any": any(fits),
        "joint_top1": bool(sampled) and fits[sampled[0]],
        "top1": bool(fits) and fits[0],
        "candidates": len(result),
        "evaluations": result.evaluations,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "result": result,
    }


class StagedRelaxation:
    """Ranks lists of crystals by relaxation in two stages; crystals that occur in several lists are relaxed once.

    Args:
        pair: the pair.
    """

    def __init__(self, pair: ElectrodePair) -> None:
        """Start with nothing relaxed."""
        self.pair, self._match = pair, _Matcher(pair, 0.3)
        self._short: dict[Any, Relaxation] = {}
        self._full: dict[Any, Relaxation] = {}

    def __call__(
        self,
        crystals: Mapping[Any, Crystal],
        promising: Sequence[Any] | None = None,
        agreement: Callable[[Any], float] = lambda key: 0.0,
    ) -> Stages:
        """Stages of crystals by key, lowest energy as placed first; `promising` are relaxed, by default the first."""
        best = list(crystals)[:SHORT] if promising is None else list(promising)
        if not best:
            return Stages(False, False, False, float("inf"), 0)
        new = [key for key in best if key not in self._short]
        found = relax([crystals[key] for key in new], self.pair.n_guest, RelaxSettings("guests", max_steps=SHORT_STEPS))
        self._short.update(zip(new, found, strict=True))
        ranked = sorted(best, key=lambda key: (self._short[key].diverged, self._short[key].energy_per_atom))
        last = lowest_and_agreed(ranked, lambda key: 0.0 if self._short[key].diverged else agreement(key), FULL)
        new = [key for key in last if key not in self._full]
        found = relax([self._short[key].crystal for key in new], settings=FULL_RELAXATION)
        self._full.update(zip(new, found, strict=True))
        lowest = min((self._full[key] for key in last), key=lambda r: (r.diverged, r.energy_per_atom))
        steps = [self._short[key].steps + 1 for key in best] + [self._full[key].steps + 1 for key in last]
        return Stages(
            self._match(crystals[next(iter(crystals))]),
            self._match(self._short[ranked[0]].crystal),
            not lowest.diverged and self._match(lowest.crystal),
            float("inf") if lowest.diverged else lowest.energy_per_atom,
            sum(steps),
        )


def lowest_state(pair: ElectrodePair, row: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """LES of the tool, of joint sampling alone and of random placement, for a row of `hand_out`."""
    result = row["result"]
    reference = relax([pair.reference], settings=FULL_RELAXATION)[0]
    ranked = StagedRelaxation(pair)
    everything = {rank: result.crystal(rank) for rank in range(len(result))}
    sampled = {rank: everything[rank] for rank, c in enumerate(result.candidates) if "joint" in c.origin}
    random = random_placements(pair, max(1, row["evaluations"]), seed)
    agreement = [c.agreement for c in result.candidates]
    found = {
        "tool": ranked(everything, most_promising(result.candidates, SHORT), agreement.__getitem__),
        "joint": ranked(sampled),
        "random": ranked({("random", k): crystal for k, crystal in enumerate(random)}),
    }
    les: dict[str, Any] = {"reference_eV_per_atom": reference.energy_per_atom}
    for name, stages in found.items():
        low = stages.energy <= reference.energy_per_atom + SAME_STATE
        les[name] = asdict(stages) | {"les": bool(stages.full or low)}
    return les


def random_placements(pair: ElectrodePair, evaluations: int, seed: int = 0, tries: int = 20_000) -> list[Crystal]:
    """`evaluations` random placements of the guests where there is room, lowest CHGNet energy first."""
    found = random_valid(pair.host, pair.guest_z, pair.n_guest, evaluations, seeded(f"{pair.name}:{seed}"), tries)
    placed = [pair.host.with_guests([pair.guest_z] * pair.n_guest, frac) for frac in found]
    if not placed:
        return []
    energies = np.nan_to_num(evaluate(placed, what="e").energies.numpy(), nan=np.inf)
    return [placed[k] for k in np.argsort(energies, kind="stable") if np.isfinite(energies[k])]


class _Matcher:
    def __init__(self, pair: ElectrodePair, tolerance: float) -> None:
        from pymatgen.analysis.structure_matcher import StructureMatcher

        self._matcher = StructureMatcher(ltol=tolerance, stol=tolerance)
        self._reference = pair.reference.to_structure()

    def __call__(self, crystal: Crystal) -> bool:
        return bool(self._matcher.fit(self._reference, crystal.to_structure()))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Shares with 95 % Wilson intervals and mean costs, by number of guests."""
    table = {}
    for name, (low, high) in {**GROUPS, "all": (1, 10**6)}.items():
        group = [row for row in rows if low <= row["n_guests"] <= high]
        entry: dict[str, Any] = {"hosts": len(group)}
        for key in ("joint_any", "network_any", "any", "joint_top1", "top1"):
            entry[key] = share([row[key] for row in group])
        relaxed = [row["les"] for row in group if "les" in row]
        entry["les_hosts"] = len(relaxed)
        for who in ("tool", "joint", "random"):
            for what in ("static", "short", "full", "les"):
                entry[f"{who}_{what}"] = share([les[who][what] for les in relaxed])
        for key in ("evaluations", "seconds", "cpu_seconds", "candidates"):
            entry[key] = float(np.mean([row[key] for row in group])) if group else None
        table[name] = entry
    return table


def share(values: Sequence[bool]) -> tuple[float, float, float] | None:
    """Share of true values and its 95 % Wilson score interval; None without values."""
    n = len(values)
    if not n:
        return None
    p, z = sum(map(bool, values)) / n, 1.959964
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return p, max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))
