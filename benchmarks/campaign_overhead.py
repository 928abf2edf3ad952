"""What Ray costs: the same shards in one process without Ray, on one Ray actor, and on two.

    python benchmarks/campaign_overhead.py [--repeats 3] [--json FILE]

Lithium and other ions in the packaged MnO2 hosts, sampled and scored as in a real campaign, one torch thread per
worker.  Time runs from the first unit to the last result; imports, the start of Ray and loading the networks are left
out, and every worker has run one unit before.  The kinds take turns, so that other load on the machine hits all alike;
the medians count.  Needs two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cluster.driver import drive
from inpaint_hpc.cluster.executor import Executor
from inpaint_hpc.cluster.local import Workers, available_cores, make_executor
from inpaint_hpc.planning.create_run import create_run

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
KINDS = ("one process", "1 actor", "2 actors")
MOST_OVERHEAD, LEAST_SPEEDUP = 1.05, 1.7


class StartedExecutor:
    """An executor that is up already and stays so when a drive ends."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each kind (3)")
    parser.add_argument("--samples", type=int, default=8, help="of each task (8)")
    parser.add_argument("--shards", type=int, default=16, help="of the campaign (16)")
    parser.add_argument("--no-score", action="store_true", help="without CHGNet")
    parser.add_argument("--weights", help="packaged set or .safetensors file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():
        # Read when numpy and torch are loaded, which is past.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)

    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="campaign-overhead-") as folder:
        config = campaign(arguments, Path(folder))
        for repeat in range(arguments.repeats):
            for kind in KINDS:
                run = create_run(config, Path(folder) / f"{kind.replace(' ', '-')}-{repeat}")
                seconds[kind].append(in_one_process(run) if kind == KINDS[0] else on_actors(run, int(kind[0])))
                print(f"{kind:<12} {seconds[kind][-1]:8.2f} s   load {os.getloadavg()[0]:.1f}", flush=True)
        tasks, shards = run.n_tasks, run.n_shards
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    figures = {
        "tasks": tasks,
        "shards": shards,
        "samples_per_task": arguments.samples,
        "cores": available_cores(),
        "seconds": {kind: [round(value, 3) for value in times] for kind, times in seconds.items()},
        "median_seconds": {kind: round(value, 3) for kind, value in medians.items()},
        "overhead": round(medians["1 actor"] / medians["one process"], 4),
        "speedup": round(medians["1 actor"] / medians["2 actors"], 4),
    }
    figures["pass"] = figures["overhead"] <= MOST_OVERHEAD and figures["speedup"] >= LEAST_SPEEDUP
    print(f"\n{tasks} tasks in {shards} shards, median of {arguments.repeats}, {available_cores()} cores")
    for kind, value in medians.items():
        print(f"{kind:<12} {value:8.2f} s")
    print(f"1 actor over one process   {figures['overhead']:.3f}   (at most {MOST_OVERHEAD})")
    print(f"1 actor over 2 actors      {figures['speedup']:.2f}    (at least {LEAST_SPEEDUP}, on two idle cores)")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("PASS" if figures["pass"] else "FAIL")
    return 0 if figures["pass"] else 1


def campaign(arguments: argparse.Namespace, folder: Path) -> CampaignConfig:
    """49 tasks of 7 hosts."""
    return CampaignConfig(
        hosts=[{"examples": "mno2"}],
        guests=[{element: 1} for element in ("Li", "Na", "K", "Mg", "Ca", "Zn", "Al")],
        output=folder / "run",
        samples=arguments.samples,
        weights=arguments.weights,
        sampling={"steps": 40},
        pipeline={"score": not arguments.no_score},
        resources={"min_shards": arguments.shards, "device": "cpu"},
    )


def in_one_process(run: RunDirectory) -> float:
    """Wall time in s of all units in this process."""
    worker = ShardWorker(run.path, "cpu", 1, "one-process")
    try:
        units = sorted(run.pending_units(), key=lambda unit: -run.shard(unit.shard)[2])
        warm_up(run, lambda: worker.run_unit(units[-1]))
        start = time.perf_counter()
        for unit in units:
            worker.run_unit(unit)
        return time.perf_counter() - start
    finally:
        worker.close()


def on_actors(run: RunDirectory, actors: int) -> float:
    """Wall time in s of a drive on Ray actors that are up and have run a unit."""
    executor = make_executor(run.path, Workers(actors, "cpu", 1))
    cheapest = min(run.pending_units(), key=lambda unit: run.shard(unit.shard)[2])
    executor.start()
    try:
        while executor.idle() < actors:
            executor.wait(1.0)

        def once_each() -> None:
            for _ in range(actors):
                executor.submit(cheapest)
            while executor.idle() < actors:
                executor.wait(1.0)

        warm_up(run, once_each)
        start = time.perf_counter()
        report = drive(run, StartedExecutor(executor))
        seconds = time.perf_counter() - start
        if report.tasks_pending or report.state.failed:
            raise RuntimeError(f"{run.path}: {report}")
        return seconds
    finally:
        executor.close()


def warm_up(run: RunDirectory, action: Any) -> None:
    """Do something and forget its results."""
    action()
    for path in run.path.glob("results/*/*.h5"):
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
