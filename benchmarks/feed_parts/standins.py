"""The networks replaced by recorded samples and made-up energies, and what everything around them costs.

A unit becomes a list of steps in their order: CPU time of the actor, calls of the card, and tasks whose analysis may
run in other processes.
"""

from __future__ import annotations

import contextlib
import cProfile
import functools
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from .answers import Answers, counted, replaced
from .card import Call

# Memory of a batch on an H200 that four workers with several units in flight share, B: as `memory_for_batches`.
MEMORY = 15 * 10**9
# The potential: width of a well, A, and its curvature, eV/A^2, for steps of relaxation as with CHGNet: on average 17.0,
# at most 53, of 51 candidates of 20 electrodes.  Both numbers are printed.
WELL, STIFFNESS = 0.3, 2.3


@dataclass(frozen=True)
class Own:
    """CPU seconds of the actor."""

    seconds: float


@dataclass(frozen=True)
class Item:
    """A task in the analysis, CPU seconds.

    Attributes:
        sent, received: of the actor, for pickling what goes to a process and reading what comes back.
        pickling: of the process, for the same.
        function: of the step itself.
        used: of the actor, for what it does with the result.
    """

    sent: float
    pickling: float
    function: float
    received: float
    used: float


@dataclass(frozen=True)
class Analysed:
    """Tasks that go through a step of the analysis."""

    items: tuple[Item, ...]


Step = Own | Call | Analysed


class Recorder:
    """Writes down what a worker does, in CPU time of its thread, which the load of the machine does not change.

    The analysis runs in a process of its own, unless it is profiled: what the actor remembers of a
    host must not help.

    Args:
        profiled: whether to profile.

    Attributes:
        steps: since `begin`.
        profiles: of the actor and of the analysis; None does without.
    """

    def __init__(self, profiled: bool = False) -> None:
        from inpaint_hpc.pipeline.analysis_pool import AnalysisPool

        self.steps: list[Step] = []
        self.profiles = {"actor": cProfile.Profile(), "analysis": cProfile.Profile()} if profiled else None
        self._pool = None if profiled else AnalysisPool(1)
        self._mark = time.thread_time()

    def begin(self) -> None:
        """Forget what was before."""
        self.steps = []
        self._profile("actor")
        self._mark = time.thread_time()

    def end(self) -> list[Step]:
        """The steps since `begin`."""
        self._own()
        self._profile(None)
        return self.steps

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What a stand-in does costs nothing."""
        self._own()
        self._profile(None)
        yield
        self._profile("actor")
        self._mark = time.thread_time()

    def useful(self, first: int, samples: int) -> None:
        """Of all samples from a step on so many are used: the others were drawn ahead in vain."""
        calls = {k: step for k, step in enumerate(self.steps) if k >= first and isinstance(step, Call)}
        share = samples / max(1, sum(call.count for call in calls.values()))
        for k, call in calls.items():
            self.steps[k] = replace(call, useful=share)

    @contextlib.contextmanager
    def calling(self, call: Call) -> Iterator[None]:
        """The same, for a call of the card."""
        with self.paused():
            yield
            self.steps.append(call)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /, age: int = 0) -> Iterator[Any]:
        """As that of an `AnalysisPool`, with what it would send to its processes and get from them."""
        items = list(items)
        self._own()
        found = []
        for item in items:
            self._profile(None)
            begun = time.thread_time()
            question = pickle.dumps((function, item), protocol=pickle.HIGHEST_PROTOCOL)
            sent = time.thread_time()
            pickle.loads(question)
            loaded = time.thread_time()
            self._profile("analysis")
            (result, seconds) = self._there(function, item)
            self._profile(None)
            done = time.thread_time()
            answer = pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
            dumped = time.thread_time()
            result = pickle.loads(answer)
            received = time.thread_time()
            self._profile("actor")
            yield result
            used = time.thread_time()
            pickling = (loaded - sent) + (dumped - done)
            found.append(Item(sent - begun, pickling, seconds, received - dumped, used - received))
        self.steps.append(Analysed(tuple(found)))
        self._mark = time.thread_time()

    def _there(self, function: Callable[[Any], Any], item: Any) -> tuple[Any, float]:
        timed = functools.partial(_timed, function)
        return timed(item) if self._pool is None else next(iter(self._pool.map(timed, [item])))

    def close(self) -> None:
        """As that of an `AnalysisPool`; the process stays, or the next unit would wait for its imports."""

    def end_process(self) -> None:
        """The recorder may be used again, with a new one."""
        if self._pool is not None:
            self._pool.close()

    def _own(self) -> None:
        self.steps.append(Own(time.thread_time() - self._mark))

    def _profile(self, name: str | None) -> None:
        if self.profiles is None:
            return
        for profile in self.profiles.values():
            profile.disable()
        if name is not None:
            self.profiles[name].enable()


def _timed(function: Callable[[Any], Any], item: Any) -> tuple[Any, float]:
    begun = time.thread_time()
    found = function(item)
    return found, time.thread_time() - begun


@contextlib.contextmanager
def stand_ins(recorder: Recorder, answers: Answers, steps: list[int]) -> Iterator[None]:
    """Answer all calls of networks, and do the analysis of workers that are made meanwhile in this process.

    Args:
        recorder: gets the calls.
        answers: of the score network.
        steps: gets those of every relaxation.
    """
    from inpaint_hpc.network.score_network import ScoreNetwork
    from inpaint_hpc.orderings import search_occupancy
    from inpaint_hpc.pipeline import analysis_pool, inpaint, ranking_stage, rejection_sampling
    from inpaint_hpc.sampling import joint
    from inpaint_hpc.scoring.chgnet import batch as chgnet

    def draw_valid(*arguments):
        first = len(recorder.steps)
        found = rejection_sampling.draw_valid(*arguments, ahead=True)
        recorder.useful(first, sum(one.n_drawn for one in found))
        return found

    def denoise(strategy, batch, positions, settings, levels, report):
        with recorder.calling(Call("sampling", len(batch), len(batch.sample), settings.nfe + 1)):
            return answers.of(batch, batch.fractional(positions, batch.sample).numpy())

    def evaluate(self, crystals, progress=None):
        if not isinstance(crystals, chgnet.Crystals):
            crystals = chgnet.crystals_batch(crystals)
        kind = "relaxation" if "s" in self.what else "forces" if "f" in self.what else "energies"
        with recorder.paused():
            rows = self.estimated_rows(crystals)
            batches = chgnet.pack_rows(range(len(crystals)), rows, self.row_budget)
            energies, forces = egg_carton(crystals)
            found = chgnet.BatchEvaluation(
                energies,
                forces,
                torch.zeros(len(crystals), 3, 3).double(),
                None,
                crystals.counts,
                ("",) * len(crystals),
                torch.as_tensor(rows).long(),
            )
        for members in batches:
            with recorder.calling(Call(kind, len(members), int(crystals.counts[members].sum()))):
                pass
        return found

    # As on a card: the tasks of a unit together, and batches that fill its memory, redraws ahead.
    ranked = functools.partial(inpaint.rank_by_energy, together=True)
    changes = [
        (joint, "_denoise", denoise),
        (ScoreNetwork, "encode", lambda self, host: None),
        (chgnet.BatchEvaluator, "__call__", evaluate),
        (chgnet, "default_row_budget", lambda device, what: MEMORY // chgnet.bytes_per_row(what)),
        (analysis_pool, "AnalysisPool", lambda processes: recorder),
        (inpaint, "draw_valid", draw_valid),
        (ranking_stage, "relax", counted(ranking_stage.relax, steps)),
        (inpaint, "rank_by_energy", ranked),
        (search_occupancy, "is_gpu", lambda device: True),
    ]
    with replaced(changes):
        yield


def egg_carton(crystals: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Energies per atom (B,) and forces (N, 3) on atoms that lie in wells along the axes of their cell."""
    cells = crystals.cells
    periods = (cells.norm(dim=2) / WELL).round().clamp(min=1)[crystals.crystal]
    inverse = torch.linalg.inv(cells)[crystals.crystal]
    phases = 2 * torch.pi * periods * (crystals.positions[:, None] @ inverse)[:, 0]
    heights = STIFFNESS * (WELL / (2 * torch.pi)) ** 2
    energies = torch.zeros(len(crystals)).double().index_add(0, crystals.crystal, (1 - phases.cos()).sum(1))
    slopes = 2 * torch.pi * periods * phases.sin()
    return heights * energies / crystals.counts - 3.0, -heights * (inverse @ slopes[:, :, None])[..., 0]


def handover(tasks: int = 400) -> tuple[float, float]:
    """CPU seconds that a task in a real pool takes its owner and its process beyond pickling: threads and pipes."""
    import psutil

    from inpaint_hpc.pipeline.analysis_pool import AnalysisPool

    pool = AnalysisPool(1)
    try:
        list(pool.map(abs, range(20)))
        process = psutil.Process(pool.pids[0])
        begun, there = time.process_time(), sum(process.cpu_times()[:2])
        list(pool.map(abs, range(tasks)))
        return (time.process_time() - begun) / tasks, (sum(process.cpu_times()[:2]) - there) / tasks
    finally:
        pool.close()
