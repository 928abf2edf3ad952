"""Draw samples until there are enough that are physically possible."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inpaint_hpc.gpus import is_gpu
from inpaint_hpc.sampling.contact_distances import Validity, invalid_samples
from inpaint_hpc.sampling.empty_space import has_void
from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import SampleSet, Task

Progress = Callable[[str, int, int], None]
"""(stage, done, total) with stage 'sample', 'redraw', 'sequential', 'sites', 'search', 'score' or 'relax'."""

# A GPU launches its kernels for a few samples in the time of about 14,000, and runs them in that of 2,000.
FEW = 4096
MORE = 1  # sample of a task than it is expected to need


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
        parts: everything that was drawn, impossible samples included, each part with its check.
    """

    frac_coords: np.ndarray
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    min_distance: np.ndarray = field(default_factory=lambda: np.zeros(0))
    n_drawn: int = 0
    reasons: Counter = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: {"sample": 0.0})
    parts: list[tuple[SampleSet, Validity]] = field(default_factory=list)

    def keep(self, found: SampleSet, checked: Validity) -> None:
        """Keep the possible ones of further samples."""
        valid = ~checked.invalid
        self.parts.append((found, checked))
        self.n_drawn += len(found)
        self.reasons.update(kind_of_reason(reason) for reason in checked.reason if reason)
        self.frac_coords = np.concatenate([self.frac_coords, found.frac_coords[valid]])
        self.indices = np.concatenate([self.indices, found.indices[valid]])
        self.min_distance = np.concatenate([self.min_distance, checked.min_distance[valid]])


class _Draws:
    """Samples of one task in the order of their indices, of which as many count as its rounds have used: in each
    round as many as were still missing before it."""

    def __init__(self, task: Task, wanted: int, rounds: int) -> None:
        self._task, self._wanted, self._rounds = task, wanted, rounds
        self._parts: list[tuple[SampleSet, Validity]] = []
        self._valid = np.zeros(0, dtype=bool)
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._valid)

    def add(self, found: SampleSet) -> None:
        """The next samples."""
        self._parts.append((found, invalid_samples(found.task.host, found.task.guests, found.frac_coords)))
        self._valid = np.concatenate([self._valid, ~self._parts[-1][1].invalid])

    def lacking(self, ahead: bool = False) -> int:
        """Samples to draw next, 0 if there are enough: those of the round, or, after the first one, as many as it and
        the rounds after it are expected to use."""
        used, missing, left = self._used()
        if not missing or not left:
            return 0
        needed = used + missing - len(self)
        if not ahead or not len(self):
            return needed
        possible = (np.count_nonzero(self._valid) + 1) / (len(self) + 2)  # Laplace's rule of succession
        return max(needed, min(math.ceil(missing / possible) + MORE, missing * left) - (len(self) - used))

    def _used(self) -> tuple[int, int, int]:
        """Samples that the rounds have used so far, those missing after them, and rounds that are left."""
        used, missing, left = 0, self._wanted, self._rounds
        while missing and left and used + missing <= len(self):
            used, missing = used + missing, missing - int(self._valid[used : used + missing].sum())
            left -= 1
        return used, missing, left

    def samples(self) -> ValidSamples:
        """The possible ones of those that count."""
        kept = ValidSamples(np.zeros((0, len(self._task.guests), 3)), seconds={"sample": self.seconds})
        left = self._used()[0]
        for found, checked in self._parts:
            if not left:
                break
            if left < len(found):
                found = replace(found, frac_coords=found.frac_coords[:left], indices=found.indices[:left])
                checked = Validity(checked.invalid[:left], checked.min_distance[:left], checked.reason[:left])
            left -= len(found)
            kept.keep(found, checked)
        return kept


def draw_valid(
    network: Any,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    redraws: int,
    device: Any = None,
    progress: Progress | None = None,
    ahead: bool | None = None,
) -> list[ValidSamples]:
    """`settings.samples` possible samples of each task; fewer when `redraws` rounds were not enough.

    Where a host has empty space, half of the guests may drift into it: there are twice as many rounds.

    Impossible samples are replaced by samples with fresh indices, so that the outcome does not depend on what else is
    drawn.  All tasks share every round.

    Args:
        network, tasks, settings, device, progress: as for `sample`; `progress` is told the stage too.
        redraws: rounds after the first one.
        ahead: where a round needs few samples, draw those that later rounds are expected to need along with it, and
            drop what they do not: the outcome is the same.  None does so on a GPU, whose calls are long however few
            samples they have.
    """
    ahead = is_gpu(device) if ahead is None else ahead
    draws = [_Draws(task, settings.samples, 1 + redraws * (2 if has_void(task.host) else 1)) for task in tasks]
    while any(lacking := [one.lacking() for one in draws]):
        if ahead and sum(lacking) < FEW:
            lacking = [one.lacking(ahead) for one in draws]
        starts = [len(one) for one in draws]
        stage = "redraw" if any(starts) else "sample"
        report = None if progress is None else (lambda done, total, stage=stage: progress(stage, done, total))
        begin = time.perf_counter()
        sets = sample(network, tasks, settings, device, report, first_sample=starts, samples=lacking)
        seconds = time.perf_counter() - begin
        for one, found, count in zip(draws, sets, lacking, strict=True):
            one.seconds += seconds * count / sum(lacking)
            if count:
                one.add(found)
    return [one.samples() for one in draws]


def kind_of_reason(reason: str) -> str:
    """'Li is 0.93 A from host O (at least 1.16 A)' -> 'Li within 1.16 A of host O'; of a guest out of reach the
    distance is left out."""
    reason = re.sub(r" \(the nearest is [\d.]+ A away\)$", "", reason)
    return re.sub(r"^(\w+) is [\d.]+ A from (.*) \(at least ([\d.]+) A\)$", r"\1 within \3 A of \2", reason)
