"""Guests one after another: each placed guest becomes host and is encoded, then the next one is placed.

Joint diffusion of many guests has to find sites and their occupation at once; here every guest finds its site among
guests already placed.  Finally all guests are noised a little and denoised together, so that the first ones can make
room for the last ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from inpaint_hpc.errors import InputError

from .joint import Progress, sample_jointly
from .settings import SamplingSettings
from .strategies import Network
from .tasks import SampleSet, Task

FEWEST_STEPS = 10  # network evaluations of each guest
REFINE_STEPS = 10  # network evaluations of the joint refinement
REFINE_SIGMA = 0.5  # A; guests may move slightly, but not change their sites


def guest_steps(steps: int, n_guests: int) -> int:
    """Network evaluations per guest, if `steps` must cover all guests and the refinement: an equal share, at least 10;
    a single guest has no refinement."""
    return max(FEWEST_STEPS, (steps - REFINE_STEPS) // n_guests) if n_guests > 1 else steps


def sequential_nfe(settings: SamplingSettings, n_guests: int) -> int:
    """Network evaluations of one sample with `n_guests` guests, including the refinement.

    Except in the refinement, each evaluation moves only one guest and so costs about 1 / n of a joint one.
    """
    each = _stage(settings, n_guests).nfe
    return n_guests * each + (_refinement(settings).nfe if n_guests > 1 else 0)


def sample_sequentially(
    network: Network,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    device: torch.device,
    progress: Progress | None,
    first_indices: Sequence[int],
    counts: Sequence[int],
) -> list[SampleSet]:
    """As `sample`, guest by guest; the order of the elements is drawn for every sample.

    Raises:
        InputError: as `sample`, or a host without atoms.
    """
    for task in tasks:
        _require_atoms(task)
    placed = [np.zeros((count, len(task.guests), 3)) for task, count in zip(tasks, counts, strict=True)]
    orders = [
        np.array([_order(task, settings.seed, index) for index in range(first, first + count)], dtype=np.int64).reshape(
            count, len(task.guests)
        )
        for task, first, count in zip(tasks, first_indices, counts, strict=True)
    ]
    total = sum(count * _work(settings, len(task.guests)) for task, count in zip(tasks, counts, strict=True))
    finished = 0

    def report(done: int, _total: int) -> None:
        if progress is not None:
            progress(finished + done, total)

    for turn in range(max((len(task.guests) for task in tasks), default=0)):
        rows, stages = [], []
        for row, (task, order, first) in enumerate(zip(tasks, orders, first_indices, strict=True)):
            if turn >= len(task.guests):
                continue
            for member in range(len(order)):
                rows.append((row, member, first + member))
                stages.append(_with_placed(task, placed[row][member], order[member], turn))
        for steps in sorted({guest_steps(settings.steps, len(tasks[row].guests)) for row, _, _ in rows}):
            same = [
                k for k, (row, _, _) in enumerate(rows) if guest_steps(settings.steps, len(tasks[row].guests)) == steps
            ]
            stage = replace(settings, strategy="conditional", steps=steps)
            indices = [rows[k][2] for k in same]
            found = sample_jointly(network, [stages[k] for k in same], stage, device, report, indices, [1] * len(same))
            for k, drawn in zip(same, found, strict=True):
                row, member, _ = rows[k]
                placed[row][member, orders[row][member, turn]] = drawn.frac_coords[0, 0]
            finished += len(same) * len(stage.path())
    several = [row for row, task in enumerate(tasks) if len(task.guests) > 1]
    refined = sample_jointly(
        network, [replace(tasks[row], random_id=f"{tasks[row].id}:settle") for row in several], _refinement(settings),
        device, report, [first_indices[row] for row in several], [counts[row] for row in several],
        [placed[row] for row in several],
    )  # fmt: skip
    for row, drawn in zip(several, refined, strict=True):
        placed[row] = drawn.frac_coords
    return [
        SampleSet(task, coords, np.arange(first, first + len(coords)), sequential_nfe(settings, len(task.guests)))
        for task, coords, first in zip(tasks, placed, first_indices, strict=True)
    ]


def _stage(settings: SamplingSettings, n_guests: int) -> SamplingSettings:
    return replace(settings, strategy="conditional", steps=guest_steps(settings.steps, n_guests))


def _refinement(settings: SamplingSettings) -> SamplingSettings:
    steps = max(REFINE_STEPS, settings.make_sampler().evaluations + 1)
    return settings.starting_at(REFINE_SIGMA, strategy="conditional", steps=steps)


def _work(settings: SamplingSettings, n_guests: int) -> int:
    """Steps of one sample, as progress counts them."""
    refinement = len(_refinement(settings).path()) if n_guests > 1 else 0
    return n_guests * len(_stage(settings, n_guests).path()) + refinement


def _order(task: Task, seed: int, index: int) -> np.ndarray:
    """Order of the guests of one sample: guests of one element are equivalent, elements are shuffled."""
    digest = hashlib.sha256(f"{task.id}:{seed}:{index}:order".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little")).permutation(len(task.guests))


def _with_placed(task: Task, placed: np.ndarray, order: np.ndarray, turn: int) -> Task:
    """The task of the next guest, with the guests before it as part of the host."""
    before = order[:turn]
    numbers = np.array(task.guests)
    host = task.host.with_guests(numbers[before], placed[before])
    return Task(host, (task.guests[order[turn]],), task.name, f"{task.id}:{turn}")


def _require_atoms(task: Task) -> None:
    if not len(task.host):
        raise InputError(f"{task.name}: the sequential strategy needs host atoms; use conditional to generate crystals")
