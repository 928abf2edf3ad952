"""The worker: loads the networks once and turns units into result files.

The same worker runs in the driver's process, in a Ray actor on one machine, and in one inside a SLURM allocation.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import gpus_here

from .heartbeat import Heartbeat
from .run_directory import RunDirectory
from .task_records import FinishedTask, failed_record, record_of
from .task_tables import CampaignTask
from .unit_results import done_report, fail_unit, require_writable, unit_report, write_unit
from .work_units import UnitReport, WorkUnit

if TYPE_CHECKING:
    import torch

    from inpaint_hpc.network.score_network import ScoreNetwork
    from inpaint_hpc.sampling.tasks import Apply, Found, Item

__all__ = ["ShardWorker", "fail_unit"]

# Tasks go through the pipeline together until their edges fill this many batches of the device.
BATCHES_TOGETHER = 2
# Maximum halvings of the edge budget for a single task that runs out of memory.
MAX_HALVINGS = 4
# Units that use the networks at a time.  With one, units that are almost done would wait for one that relaxes, and the
# pool without work for them; each more needs memory of the device.
USE_NETWORKS = 2


class _OfUnit(threading.local):
    """What belongs to the unit that a thread is running: its name, how many this worker had begun before, and the
    maximum graph edges per batch, which is None until it runs short of memory unless configured."""

    def __init__(self, edge_budget: int | None) -> None:
        self.name, self.number = "", 0
        self.edge_budget = edge_budget


class ShardWorker:
    """Runs units of a campaign, also several at once in as many threads: two of them use the networks at a time, while
    others wait for the analysis of their tasks or write their results.

    Args:
        run_path: the run directory.
        device: torch device, 'cpu', 'cuda' or 'cuda:1'.
        threads: torch threads of this process; None leaves them as they are.
        name: name of heartbeat and logs; by default host name and process id.  Letters, digits, '-', '_' and '.'.
        analysis: processes beside this one for the analysis of tasks; 0 does it here.

    Attributes:
        run: the run directory.
        name: of the worker.
        note: why this worker is slower than it could be, in one line; '' if it is not.

    Raises:
        InputError: not a run directory, the weights are not the frozen ones, or there is no such device.
    """

    def __init__(
        self,
        run_path: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        name: str | None = None,
        analysis: int = 0,
    ) -> None:
        """Load the frozen settings and networks, and start the heartbeat."""
        import torch

        from inpaint_hpc.kernels.available import kernels_of
        from inpaint_hpc.pipeline.analysis_pool import AnalysisPool

        from .cost import CostModel

        self.run = RunDirectory(run_path)
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise InputError(f"'{self.name}' cannot name a worker: use letters, digits, '-', '_' and '.'")
        if threads is not None:
            torch.set_num_threads(threads)
        self.device = _device(device)
        self.sampling, self.pipeline = self.run.settings()
        self._mine = _OfUnit(self.sampling.edge_budget)
        self._begun = itertools.count()
        self._networks = threading.BoundedSemaphore(USE_NETWORKS)
        self.network = _frozen_network(self.run, self.device)
        self.cost = CostModel.of(self.sampling, self.pipeline, self.network.info)
        if self.pipeline.score:
            from inpaint_hpc.scoring.chgnet.energies import load_chgnet

            load_chgnet(str(self.device), self.pipeline.chgnet)
        self._pool = AnalysisPool(analysis) if analysis else None
        self._totals: Counter[str] = Counter()
        self._reporting = threading.Lock()
        self._log_file = self.run.log(self.name)
        self._reports = self.run.report_journal(self.name)
        self._heartbeat = Heartbeat(
            self.run,
            self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=str(self.device),
            threads=torch.get_num_threads(),
            started=time.time(),
        )
        self._heartbeat.start()
        kernels = kernels_of(self.device)
        self.note = f"no kernels on its GPU: {kernels}" if self.device.type == "cuda" and "torch" in kernels else ""
        self._log(
            "started",
            device=str(self.device),
            threads=torch.get_num_threads(),
            analysis=analysis,
            pid=os.getpid(),
            kernels=kernels,
        )

    @staticmethod
    def problem_here(device: str, gpus: int) -> str:
        """Why workers cannot run on this machine, in one line; '' if they can.

        Args:
            device: 'cpu' or 'cuda'.
            gpus: number of GPUs expected.
        """
        if device == "cpu":
            return ""
        found = gpus_here()
        if found.count >= gpus:
            return ""
        why = "; ".join(found.notes) or "check nvidia-smi and the driver there"
        return f"torch can use {found.count} of {gpus} GPUs ({why}); use --device cpu to do without"

    def run_unit(self, unit: WorkUnit) -> UnitReport:
        """Run the tasks of a unit and write its result file; returns at once if an intact one exists.

        Raises:
            StorageError: the result cannot be written (disk full, read-only ...); fatal for the whole campaign until
                the cause is removed, but no finished result is lost.
            InputError: no such unit.
        """
        start = time.perf_counter()
        unit = self.run.unit(unit.shard, unit.start, unit.stop)
        self._mine.edge_budget = self.sampling.edge_budget
        path = self.run.result_path(unit)
        if path.exists():
            problem = self.run.problem_of(unit)
            if problem is None:
                return done_report(unit, path, self.name)
            self._log("damaged", level="warning", unit=str(unit), error=problem)
        require_writable(path.parent)
        self._heartbeat.start()
        self._mine.name, self._mine.number = str(unit), next(self._begun)
        self._heartbeat.progress(str(unit), task=None, n_tasks=len(unit), tasks_done_in_unit=0)
        self._log("unit started", unit=str(unit), tasks=len(unit))
        try:
            records: list[TaskRecord] = []
            for together in self._chunks(self.run.tasks(self.run.rows(unit))):
                self._heartbeat.progress(str(unit), task=together[0].id, tasks_done_in_unit=len(records))
                records += self._run_tasks(together, unit)
            written = time.perf_counter()
            records = write_unit(self.run, unit, records)
        finally:
            self._mine.name = ""
            self._heartbeat.end(str(unit))
        now = time.perf_counter()
        report = unit_report(unit, records, now - start, self.name, {"write": now - written})
        self._finished(report)
        return report

    def records(self, tasks: Sequence[CampaignTask]) -> list[TaskRecord]:
        """Records of tasks, which go through the pipeline together; nothing is written or retried."""
        from inpaint_hpc.pipeline.inpaint import scored_tasks

        beside: Apply = map if self._pool is None else partial(self._pool.map, age=self._mine.number)
        analysis: Apply = map if self._pool is None else self._without_networks
        records: dict[str, TaskRecord] = {}
        for samples in sorted({task.samples for task in tasks}):
            chosen = [task for task in tasks if task.samples == samples]
            sampling = replace(self.sampling, samples=samples, edge_budget=self._mine.edge_budget)
            places = [task.task for task in chosen]
            with self._networks:
                scored = scored_tasks(
                    self.network, places, sampling, self.pipeline, self.device, self._progress, analysis
                )
            items = [
                FinishedTask(task, one, self.name, self.run.match_tolerance)
                for task, one in zip(chosen, scored, strict=True)
            ]
            records |= {record.task_id: record for record in beside(record_of, items)}
        return [records[task.id] for task in tasks]

    def _without_networks(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """Results of the pool, with the networks free for other threads until all are there."""
        assert self._pool is not None
        self._networks.release()
        try:
            return list(self._pool.map(function, items, age=self._mine.number))
        finally:
            self._networks.acquire()

    def close(self) -> None:
        """Stop the heartbeat; the last one states that the worker has ended.  The worker may be used again."""
        if self._pool is not None:
            self._pool.close()
        self._heartbeat.close()
        self._log_file.close()
        self._reports.close()

    def _chunks(self, tasks: Sequence[CampaignTask]) -> Iterator[list[CampaignTask]]:
        """Tasks that go through the pipeline together, in order."""
        from inpaint_hpc.sampling.batching import default_edge_budget

        limit = BATCHES_TOGETHER * (self._mine.edge_budget or default_edge_budget(self.device))
        chunk: list[CampaignTask] = []
        edges = 0.0
        for task in tasks:
            host, sample = self._edges(task)
            added = max(host, sample * task.samples)
            if chunk and edges + added > limit:
                yield chunk
                chunk, edges = [], 0.0
            chunk.append(task)
            edges += added
        if chunk:
            yield chunk

    def _run_tasks(
        self, tasks: list[CampaignTask], unit: WorkUnit, attempts: int = 0, halvings: int = 0
    ) -> list[TaskRecord]:
        """Records of tasks; where several raise together each half is tried, so that one bad task of hundreds costs few
        runs; a task that raises is tried once on its own, then recorded as failed."""
        from inpaint_hpc.sampling.batching import is_out_of_memory, release_memory

        try:
            records = self.records(tasks)
        except Exception as error:
            text, trace, no_memory = f"{type(error).__name__}: {error}", traceback.format_exc(), is_out_of_memory(error)
            if isinstance(error, InputError):
                text = str(error)
        else:
            for record in records:
                self._log_task(record, unit)
            return records
        # Outside the except clause, where the traceback would keep the tensors of the failed batch alive.
        if no_memory and halvings < MAX_HALVINGS:
            with self._networks:
                release_memory(self.device)
            self._halve_budget(tasks, unit)
            middle = len(tasks) // 2
            parts = [tasks[:middle], tasks[middle:]] if middle else [tasks]
            return [r for part in parts for r in self._run_tasks(part, unit, attempts, halvings + (not middle))]
        if len(tasks) > 1:
            self._log("tasks raised", level="warning", unit=str(unit), tasks=[task.id for task in tasks], error=text)
            middle = len(tasks) // 2
            return [r for part in (tasks[:middle], tasks[middle:]) for r in self._run_tasks(part, unit, attempts=1)]
        if attempts == 0:
            return self._run_tasks(tasks, unit, attempts=1)
        record = failed_record(tasks[0], text, trace, attempts + 1, self.name)
        self._log_task(record, unit)
        return [record]

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._mine.name:  # not where only records are asked for
            self._heartbeat.progress(self._mine.name, stage=stage, stage_done=done, stage_total=total)

    def _edges(self, task: CampaignTask) -> tuple[float, float]:
        host, sample = self.cost.edges([len(task.host)], len(task.guests), [task.host.volume])
        return float(host[0]), float(sample[0])

    def _halve_budget(self, tasks: Sequence[CampaignTask], unit: WorkUnit) -> None:
        """Batches of half the size, but never too small for a single sample of these tasks."""
        from inpaint_hpc.sampling.batching import default_edge_budget

        needed = math.ceil(max(max(self._edges(task)) for task in tasks))
        budget = max((self._mine.edge_budget or default_edge_budget(self.device)) // 2, needed, 1)
        self._mine.edge_budget = budget
        self._log("out of memory", level="warning", unit=str(unit), edge_budget=budget)

    def _finished(self, report: UnitReport) -> None:
        seconds = self._heartbeat.busy_seconds
        with self._reporting:
            self._totals.update(
                tasks=report.tasks, samples=report.samples, invalid=report.invalid, failed=report.failed, units=1
            )
            fields: dict[str, Any] = {
                "units_done": self._totals["units"],
                "tasks_done": self._totals["tasks"],
                "samples": self._totals["samples"],
                "invalid": self._totals["invalid"],
                "failed": self._totals["failed"],
                "samples_per_second": round(self._totals["samples"] / max(seconds, 1e-9), 4),
            }
            if report.error:
                fields["error"] = report.error
            self._heartbeat.update(**fields)
            self._heartbeat.write()
            with contextlib.suppress(OSError):
                self._reports.append(**report.as_dict())
        self._log("unit done", **{**report.as_dict(), "unit": str(report.unit)})

    def _log_task(self, record: TaskRecord, unit: WorkUnit) -> None:
        common: dict[str, Any] = {"unit": str(unit), "task": record.task_id}
        common |= {"host": record.host.name, "guests": list(record.guests)}
        if record.failed:
            self._log("task failed", level="error", **common, error=record.error, attempts=record.attempts)
            return
        valid = record.n_valid
        self._log(
            "task done",
            **common,
            samples=valid,
            invalid=len(record.samples) - valid,
            candidates=len(record.candidates),
            seconds={stage: round(seconds, 3) for stage, seconds in record.seconds.items()},
        )

    def _log(self, event: str, level: str = "info", **fields: object) -> None:
        # A full disk is reported when the result is written.
        with self._reporting, contextlib.suppress(OSError):
            self._log_file.append(level=level, event=event, **fields)


def _frozen_network(run: RunDirectory, device: torch.device) -> ScoreNetwork:
    """The network with the weights that were frozen.

    Raises:
        InputError: they were changed.
    """
    from inpaint_hpc.network.weights import load_network

    network = load_network(run.weights_path, device)
    expected = run.info["weights"]["sha256"]
    if network.info.sha256 != expected:
        raise InputError(
            f"{run.weights_path}: these are other weights ({network.info.sha256[:12]}) than the campaign was created "
            f"with ({expected[:12]}); put the right file and its card back"
        )
    return network


def _device(name: str) -> torch.device:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"no such device '{name}'; use cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{name}: torch sees {torch.cuda.device_count()} CUDA devices; use another device")
    return device
