"""What a task will cost, before it is run: network edges x evaluations x samples, plus scoring.

The unit is one graph edge in one network evaluation.  Only ratios matter for balancing shards; `plan` measures what a
unit costs on a machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from inpaint_hpc.network.weights import WeightsInfo
from inpaint_hpc.orderings.denoise_placements import STEPS as SETTLE_STEPS
from inpaint_hpc.orderings.evaluation_budget import evaluation_budget
from inpaint_hpc.pipeline.settings import STAGED, PipelineSettings, searches
from inpaint_hpc.sampling.sequential import guest_steps
from inpaint_hpc.sampling.settings import SamplingSettings

# One core, network of default size: 21 microseconds per edge in full batches, a little more with overheads.
CPU_SECONDS = 25e-6
# Work of the network on each guest, whatever its neighbours, in edges.
GUEST_EDGES = 10.0
# CHGNet with forces: 6 ms per atom where an edge takes 60 microseconds.
SCORE_EDGES = 100.0
# Evaluations until a candidate has converged to 0.05 eV/A, as benchmarks/chgnet_relax.py counts them.
RELAX_EVALUATIONS = {"guests": 30.0, "positions": 40.0, "cell": 40.0}
# Strategies that noise the host as well.
HOST_MOVES = ("replacement", "repaint")
# Single guests drawn for a task with several guests, and energies without forces in units of those with forces.
SEARCH_SAMPLES, ENERGY_ONLY = 20.0, 0.5
VOIDS = 4.0  # of a host that are tried for one guest, measured on WBM and electrodes
SETTLED = 0.6  # share of the candidates that are refined by the score model
# Samples that remain after deduplication, measured on WBM hosts: one guest, several guests.
CANDIDATES = (0.4, 0.8)


@dataclass(frozen=True)
class CostModel:
    """Estimates costs of many tasks at once.

    Attributes:
        sampling: settings of the sampler.
        pipeline: of everything after it.
        cutoff: of host edges, A.
        guest_cutoff: of edges between guests, A.
    """

    sampling: SamplingSettings
    pipeline: PipelineSettings
    cutoff: float = 5.0
    guest_cutoff: float = 6.0

    @classmethod
    def of(cls, sampling: SamplingSettings, pipeline: PipelineSettings, weights: WeightsInfo) -> CostModel:
        """With the cutoffs of a set of weights."""
        sizes = weights.card["network"]
        return cls(sampling, pipeline, float(sizes.get("host_cutoff", 5.0)), float(sizes.get("guest_cutoff", 6.0)))

    def edges(self, n_atoms: ArrayLike, n_guests: int, volumes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Expected edges to encode each host, and of one of its samples in one evaluation, each (H,).

        Args:
            n_atoms: host atoms, (H,).
            n_guests: guests of each sample.
            volumes: A^3, (H,).
        """
        n_atoms, volumes = np.asarray(n_atoms, dtype=np.float64), np.asarray(volumes, dtype=np.float64)
        sphere, guest_sphere = (4.0 / 3.0 * math.pi * r**3 for r in (self.cutoff, self.guest_cutoff))
        if self.sampling.strategy in HOST_MOVES:
            atoms = n_atoms + n_guests
            return np.zeros(len(n_atoms)), np.maximum(atoms**2 / volumes * guest_sphere, atoms)
        sample = n_guests * (n_atoms * sphere + n_guests * guest_sphere) / volumes
        return n_atoms**2 / volumes * sphere, np.maximum(sample, n_guests)

    def costs(self, n_atoms: np.ndarray, n_guests: int, volumes: np.ndarray, samples: int) -> np.ndarray:
        """Estimated cost of tasks, (H,); arguments as `edges`, and samples of each task."""
        host, sample = self.edges(n_atoms, n_guests, volumes)
        moving = n_guests + np.asarray(n_atoms) if self.sampling.strategy in HOST_MOVES else n_guests
        each = self.sampling.nfe * (sample + GUEST_EDGES * moving)
        if self.pipeline.score:
            atoms = np.asarray(n_atoms) + n_guests
            each = each + CANDIDATES[n_guests > 1] * SCORE_EDGES * atoms
        total = host + samples * each
        if self.pipeline.score and n_guests == 1 and self.sampling.strategy == "auto":
            total = total + min(VOIDS, self.pipeline.voids) * SCORE_EDGES * atoms
        if self.pipeline.score and self.pipeline.evaluations and searches(self.sampling, n_guests):
            single = self.edges(n_atoms, 1, volumes)[1]
            total = total + SEARCH_SAMPLES * self.sampling.nfe * (single + GUEST_EDGES)
            total = total + ENERGY_ONLY * evaluation_budget(self.pipeline.evaluations, n_guests) * SCORE_EDGES * atoms
            # One guest after another: each time the host is encoded anew and one guest moves; then all are refined.
            refining = SETTLE_STEPS * (sample + GUEST_EDGES * n_guests)
            turns = n_guests * (host + guest_steps(self.sampling.steps, n_guests) * (single + GUEST_EDGES))
            total = total + self.pipeline.sequential * (turns + refining)
            if self.pipeline.settle:
                total = total + SETTLED * self.pipeline.candidates * (refining + SCORE_EDGES * atoms)
        if self.pipeline.relaxes:
            briefly = min(CANDIDATES[n_guests > 1] * samples, STAGED * (self.pipeline.top_k or 0))
            total = total + briefly * self.pipeline.stage_steps * SCORE_EDGES * atoms
            relaxed = min(CANDIDATES[n_guests > 1] * samples, self.pipeline.top_k or math.inf)
            total = total + relaxed * RELAX_EVALUATIONS[self.pipeline.relax] * SCORE_EDGES * atoms
        return total
