"""Reconstruction: remove all atoms of an ion from a relaxed crystal, place as many again, compare.

The protocol of Dai et al. (ICML AI4Science 2024) on WBM.  The host keeps the cell and the coordinates that it relaxed
to around the ion, which leaks part of the answer; electrode pairs do not have this flaw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import ElectrodePair, PackedDataset
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.deduplication import deduplicate, guest_displacements
from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    from inpaint_hpc.sampling.strategies import Network


@dataclass(frozen=True)
class Reconstruction:
    """Samples of one host against the crystal it was made from.

    Attributes:
        reference: the full crystal.
        n_guests: number of ions removed.
        matches: `StructureMatcher.fit` of each sample, bool (S,).
        rmsd: root mean square distance in A of the guests from the nearest image of the reference under the host's
            symmetry, in the frame of the host, (S,); NaN where a guest is over 1 A away from all of them.
        clusters: equal samples: indices of the members, the representative first; largest cluster first.
    """

    reference: Crystal
    n_guests: int
    matches: np.ndarray
    rmsd: np.ndarray
    clusters: tuple[tuple[int, ...], ...] = ()


def choose_references(
    path: str, ion: int, limit: int | None = None, max_atoms: int | None = 20, seed: int = 0
) -> list[Crystal]:
    """Random crystals of a packed file that contain the ion and something else, in the file's order.

    Raises:
        InputError: there are none.
    """
    dataset = PackedDataset(path, max_atoms=max_atoms)
    rows = [
        i
        for i in range(len(dataset))
        if 0 < (dataset.numbers[dataset.offsets[i] : dataset.offsets[i + 1]] == ion).sum() < dataset.n_atoms[i]
    ]
    if not rows:
        raise InputError(f"{path}: no crystal of at most {max_atoms} atoms holds element {ion} and something else")
    if limit is not None and limit < len(rows):
        rows = sorted(np.random.default_rng([seed, ion]).choice(rows, limit, replace=False))
    return [dataset[int(i)] for i in rows]


def reconstruct(
    network: Network,
    references: Sequence[Crystal],
    ion: int,
    settings: SamplingSettings,
) -> list[Reconstruction]:
    """Sample the guests of every host and match each sample with its reference.

    The matcher is pymatgen's `StructureMatcher(ltol=0.2, stol=0.2).fit`: the largest site distance must stay below
    0.2 (V / N)^(1/3) on the whole structure.
    """
    tasks = [Task(c.without(ion), [ion] * int((c.numbers == ion).sum())) for c in references]
    placements = [c.frac_coords[c.numbers == ion] for c in references]
    return _reconstruct(network, tasks, references, placements, settings, _matcher(0.2, 0.2))


def intercalate(network: Network, pairs: Sequence[ElectrodePair], settings: SamplingSettings) -> list[Reconstruction]:
    """Place the guests of electrode pairs in the hosts as they relaxed without them, and match with the references.

    The matcher is `StructureMatcher(ltol=0.3, stol=0.3).fit`: hosts and references differ by their relaxation.
    """
    tasks = [Task(pair.host, [pair.guest_z] * pair.n_guest) for pair in pairs]
    references = [pair.reference for pair in pairs]
    placements = [pair.reference.frac_coords[len(pair.host) :] for pair in pairs]
    return _reconstruct(network, tasks, references, placements, settings, _matcher(0.3, 0.3))


def _reconstruct(
    network: Network,
    tasks: Sequence[Task],
    references: Sequence[Crystal],
    placements: Sequence[np.ndarray],
    settings: SamplingSettings,
    matcher: StructureMatcher,
) -> list[Reconstruction]:
    """`placements`: where the guests of each task belong, in fractional coordinates of its host."""
    results = []
    drawn = sample(network, tasks, settings)
    for task, reference, right, found in zip(tasks, references, placements, drawn, strict=True):
        target = reference.to_structure()
        matches = np.array([matcher.fit(target, c.to_structure()) for c in found.crystals()])
        host, guests, coords = task.host, np.array(task.guests), found.frac_coords
        moved = guest_displacements(host, guests, right, coords)
        rmsd = np.array([np.nan if d is None else np.sqrt((d**2).sum(1).mean()) for d in moved])
        clusters = tuple(
            (c.representative, *(int(m) for m in c.members if m != c.representative))
            for c in deduplicate(host, guests, coords)
        )
        results.append(Reconstruction(reference, len(guests), matches, rmsd, clusters))
    return results


def _matcher(ltol: float, stol: float) -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=ltol, stol=stol)


def summarize(results: Sequence[Reconstruction], resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Match rates with 95 % bootstrap intervals over hosts.

    Returns:
        `hosts`; `one`: mean over all samples, the chance that one sample matches; `any`: share of hosts with at
        least one match; each with `_low` and `_high`; None where there is no host.  `rmsd`: median of the guests' RMSD
        over the samples that match, A; None without a match.
    """
    if not results:
        return {"hosts": 0, "one": None, "any": None, "rmsd": None}
    one = np.array([r.matches.mean() for r in results])
    some = np.array([r.matches.any() for r in results], dtype=float)
    rows = np.random.default_rng(seed).integers(len(results), size=(resamples, len(results)))
    record: dict[str, Any] = {"hosts": len(results)}
    for name, values in (("one", one), ("any", some)):
        low, high = np.quantile(values[rows].mean(1), [0.025, 0.975])
        record |= {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
    matched = np.concatenate([r.rmsd[r.matches] for r in results])
    matched = matched[np.isfinite(matched)]
    record["rmsd"] = float(np.median(matched)) if len(matched) else None
    return record
