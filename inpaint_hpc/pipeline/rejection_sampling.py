"""Draw samples until there are enough that are physically possible."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inpaint_hpc.sampling.contact_distances import Validity, invalid_samples
from inpaint_hpc.sampling.empty_space import has_void
from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import SampleSet, Task

Progress = Callable[[str, int, int], None]
"""(stage, done, total) with stage 'sample', 'redraw', 'sequential', 'sites', 'search', 'score' or 'relax'."""


@dataclass
class ValidSamples:
    """The possible samples of one task.

    Attributes:
        frac_coords: float64 (S, n_guests, 3).
        indices: index of each sample, int64 (S,).
        min_distance: smallest distance in A of a guest to another atom, (S,).
        n_drawn: samples drawn, impossible ones included.
        reasons: why samples were impossible, with the number of samples each.
        seconds: wall time by stage.
        rounds: everything that was drawn, impossible samples included: for each round the samples and the check.
    """

    frac_coords: np.ndarray
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    min_distance: np.ndarray = field(default_factory=lambda: np.zeros(0))
    n_drawn: int = 0
    reasons: Counter = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: {"sample": 0.0})
    rounds: list[tuple[SampleSet, Validity]] = field(default_factory=list)

    def add(self, found: SampleSet) -> None:
        """Keep the possible ones of newly drawn samples."""
        self.keep(found, invalid_samples(found.task.host, found.task.guests, found.frac_coords))

    def keep(self, found: SampleSet, checked: Validity) -> None:
        """The same of samples that were checked."""
        valid = ~checked.invalid
        self.rounds.append((found, checked))
        self.n_drawn += len(found)
        self.reasons.update(kind_of_reason(reason) for reason in checked.reason if reason)
        self.frac_coords = np.concatenate([self.frac_coords, found.frac_coords[valid]])
        self.indices = np.concatenate([self.indices, found.indices[valid]])
        self.min_distance = np.concatenate([self.min_distance, checked.min_distance[valid]])


def draw_valid(
    network: Any,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    redraws: int,
    device: Any = None,
    progress: Progress | None = None,
) -> list[ValidSamples]:
    """`settings.samples` possible samples of each task; fewer when `redraws` rounds were not enough.

    Where a host has empty space, half of the guests may drift into it: there are twice as many rounds.

    Impossible samples are replaced by samples with fresh indices, so that the outcome does not depend on what else is
    drawn.  All tasks share every round.
    """
    drawn = [ValidSamples(np.zeros((0, len(task.guests), 3))) for task in tasks]
    rounds = [1 + redraws * (2 if has_void(task.host) else 1) for task in tasks]
    for attempt in range(max(rounds, default=0)):
        missing = [
            settings.samples - len(d.indices) if attempt < most else 0 for d, most in zip(drawn, rounds, strict=True)
        ]
        if not any(missing):
            break
        stage = "redraw" if attempt else "sample"
        report = None if progress is None else (lambda done, total, stage=stage: progress(stage, done, total))
        starts = [d.n_drawn for d in drawn]
        begin = time.perf_counter()
        sets = sample(network, tasks, settings, device, report, first_sample=starts, samples=missing)
        seconds = time.perf_counter() - begin
        for d, found, count in zip(drawn, sets, missing, strict=True):
            d.seconds["sample"] += seconds * count / sum(missing)
            if count:
                d.add(found)
    return drawn


def kind_of_reason(reason: str) -> str:
    """'Li is 0.93 A from host O (at least 1.16 A)' -> 'Li within 1.16 A of host O'; of a guest out of reach the
    distance is left out."""
    reason = re.sub(r" \(the nearest is [\d.]+ A away\)$", "", reason)
    return re.sub(r"^(\w+) is [\d.]+ A from (.*) \(at least ([\d.]+) A\)$", r"\1 within \3 A of \2", reason)
