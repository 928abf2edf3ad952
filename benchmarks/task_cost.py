"""What a task of a campaign costs outside of the networks: CPU milliseconds by stage, and the calls of a model.

    git worktree add ../before COMMIT
    python benchmarks/task_cost.py ../shared/data --other ../before
    python benchmarks/task_cost.py ../shared/data --workloads electrodes --limit 7 --keep cost

Three workloads run in this process, one thread, in the shape that a GPU gives them (the tasks of a shard at once, their
energies together): `one-guest` (Li into WBM crystals, 16 samples), `ions-out` (an ion taken out of WBM crystals, 8
samples, orderings searched), `electrodes` (4 to 7 guests, relaxed in the frozen host).  Stages are in ms of thread CPU
time per task, what runs in a network or in the loops around it apart.  With `--other`, another checkout runs the same
in turns.  With `--keep`, archives stay in FOLDER/WORKLOAD, to be compared: `inpaint-hpc verify A --against B`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
IONS = ("Li", "Na", "Mg", "K", "Ca", "Zn")
TASKS = {"one-guest": 60, "ions-out": 60, "electrodes": 7}
NETWORKS = (
    "sampling.joint:_denoise",
    "network.score_network:ScoreNetwork.encode",
    "scoring.chgnet.batch:BatchEvaluator.__call__",
    "scoring.relaxation.relax:relax",
)
STAGES = {
    "campaign.worker:ShardWorker.run_unit": "unit",
    "pipeline.rejection_sampling:draw_valid": "joint, sequential",
    "orderings.search_occupancy:_single_guests": "single guests",
    "orderings.search_occupancy:site_levels": "site levels",
    "orderings.search_occupancy:search_occupancy": "search of orderings",
    "pipeline.analysis:_clusters": "deduplicate",
    "pipeline.analysis:_describe": "describe",
    "pipeline.analysis:candidates_of": "describe",
    "pipeline.analysis:result_of": "describe",
    "pipeline.ordering_stage:sequential_candidates": "describe",
    "pipeline.ordering_stage:searched_candidates": "describe",
    "pipeline.shortlist:shortlist": "shortlist",
    "pipeline.ranking_stage:_score": "score, refine",
    "pipeline.ranking_stage:_refine": "score, refine",
    "pipeline.ranking_stage:_let_voids_go": "relax, merge minima",
    "pipeline.ranking_stage:_relax": "relax, merge minima",
    "pipeline.unique_minima:merge_minima": "relax, merge minima",
    "campaign.task_records:record_of": "record, log, report",
    "campaign.run_directory:RunDirectory.tasks": "read tasks",
    "campaign.unit_results:write_unit": "write",
}


class Clock:
    """Exclusive thread CPU time by stage, and whether it was spent in a network."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, bool], float] = defaultdict(float)
        self.calls: dict[str, Counter[int]] = defaultdict(Counter)
        self._stack, self._last = [("other", False)], time.thread_time()

    def tick(self) -> None:
        now = time.thread_time()
        self.spent[self._stack[-1]] += now - self._last
        self._last = now

    def wrap(self, place: str, stage: str | None) -> None:
        """Count the time of a function for a stage, or without one for the networks; wherever it was imported."""
        module_name, _, name = place.partition(":")
        owner: Any = importlib.import_module(f"inpaint_hpc.{module_name}")
        *classes, last = name.split(".")
        for one in classes:
            owner = getattr(owner, one)
        inner = getattr(owner, last)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            outermost = stage is None and not self._stack[-1][1]
            self.tick()
            self._stack.append((self._stack[-1][0], True) if stage is None else (stage, False))
            try:
                found = inner(*args, **kwargs)
            finally:
                self.tick()
                self._stack.pop()
            if outermost and (size := size_of(name, args, found)):
                self.calls[f"{last if not classes else classes[0]} ({self._stack[-1][0]})"][size] += 1
            return found

        for known in [owner] if classes else list(sys.modules.values()):
            if getattr(known, last, None) is inner:
                setattr(known, last, timed)


def size_of(name: str, args: tuple, found: Any) -> int:
    """Structures or samples of a call of a network, 0 for what is no call of its own."""
    if name == "_denoise":
        return len(args[1])
    return len(args[0]) if name == "relax" else 0 if name.startswith("ScoreNetwork") else len(found)


def configuration(workload: str, data: Path, limit: int) -> dict[str, Any]:
    import h5py

    from inpaint_hpc.crystals.packed import PackedDataset, hash_order

    path = str(data / ("electrodes_dev.h5" if workload == "electrodes" else "wbm_dev.h5"))
    if workload == "electrodes":
        with h5py.File(path) as file:
            n = file["n_guest"][()]
            fits = (file["recommended"][()] == 1) & (n >= 4) & (n <= 7) & (file["host_n_atoms"][()] <= 40)
            ids = [name.decode() for name in file["ids"][()]]
        chosen = [ids[row] for row in hash_order(range(len(ids)), ids.__getitem__) if fits[row]][:limit]
        return {
            "hosts": {"path": path, "prefix": "host_", "select": ",".join(chosen)},
            "guests": [{"from_columns": {"species": "guest_z", "count": "n_guest"}}],
            "samples": 16,
            "pipeline": {"relax": "guests", "top_k": 3},
            "resources": {"device": "cpu", "min_shards": 4},
        }
    dataset = PackedDataset(path)
    wanted = set(IONS) if workload == "ions-out" else None
    rows = []
    for row in hash_order(range(len(dataset)), dataset.ids.__getitem__):
        elements = set(dataset[row].formula.translate(str.maketrans("", "", "0123456789")).split())
        if 2 <= dataset.n_atoms[row] <= 40 and (wanted is None or (elements & wanted and elements - wanted)):
            rows.append(row)
        if len(rows) == limit:
            break
    guests = [{"Li": 1}] if wanted is None else [{"remove": list(IONS)}]
    return {
        "hosts": {"path": path, "select": ",".join(dataset.ids[row] for row in rows), "skip_bad": True},
        "guests": guests,
        "samples": 16 if wanted is None else 8,
        "resources": {"device": "cpu", "min_shards": 4 if wanted is None else 8},
    }


def run(workload: str, data: Path, limit: int, folder: Path, shards: int | None = None) -> dict[str, Any]:
    """Run a workload of this checkout; archive in `folder`."""
    import torch

    from inpaint_hpc.campaign import worker as workers
    from inpaint_hpc.campaign.config import CampaignConfig
    from inpaint_hpc.campaign.run_results import collect_run
    from inpaint_hpc.orderings import search_occupancy
    from inpaint_hpc.pipeline import inpaint, ranking_stage
    from inpaint_hpc.planning.create_run import create_run

    torch.set_num_threads(1)
    score: Callable[..., Any] = ranking_stage.rank_by_energy
    inpaint.rank_by_energy = lambda *args, **kwargs: score(*args, **{**kwargs, "together": True})
    search_occupancy.is_gpu = lambda device: True
    workers.ShardWorker._chunks = lambda self, tasks: [list(tasks)]
    settings = configuration(workload, data, limit) | {"output": str(folder / "run"), "sampling": {"steps": 40}}
    if shards:
        settings["resources"] |= {"min_shards": shards, "shard_tasks": 512, "shard_minutes": 60}
    made = create_run(CampaignConfig(**settings), folder / "run")
    worker = workers.ShardWorker(made.path, "cpu", 1, "task-cost")
    clock = Clock()
    for place in NETWORKS:
        clock.wrap(place, None)
    for place, stage in STAGES.items():
        with contextlib.suppress(ModuleNotFoundError, AttributeError):  # another checkout may have it elsewhere
            clock.wrap(place, stage)
    clock.tick()
    clock.spent.clear()
    for unit in sorted(made.pending_units(), key=lambda unit: -made.shard(unit.shard)[2]):
        worker.run_unit(unit)
    clock.tick()
    worker.close()
    collect_run(made)
    n = made.n_tasks
    stages: dict[str, list[float]] = {}
    for (stage, in_network), seconds in clock.spent.items():
        stages.setdefault(stage, [0.0, 0.0])[in_network] += 1e3 * seconds / n
    calls = {name: sorted(sizes.elements()) for name, sizes in clock.calls.items()}
    return {"tasks": n, "shards": made.n_shards, "stages": stages, "calls": calls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with wbm_dev.h5 and electrodes_dev.h5")
    parser.add_argument("--workloads", default=",".join(TASKS), help="of them, by commas")
    parser.add_argument("--shards", type=int, help="shards (default: 4, 8, 4)")
    parser.add_argument("--limit", type=int, help="hosts (default: 60, 60, 7)")
    parser.add_argument("--other", type=Path, help="another checkout")
    parser.add_argument("--keep", type=Path, help="folder for the archives")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    workloads = options.workloads.split(",")
    if options.child:
        print(json.dumps(run(workloads[0], options.data, options.limit, options.keep, options.shards)))
        return
    trees = {"here": HERE} | ({"other": options.other.resolve()} if options.other else {})
    for workload in workloads:
        found = {}
        for name, tree in trees.items():
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) if options.keep is None else options.keep.resolve() / name / workload
                found[name] = child(tree, workload, options, folder)
        report(workload, found)


def child(tree: Path, workload: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, options.data.resolve(), "--child", "--workloads", workload, "--keep", folder]
    command += ["--limit", str(options.limit or TASKS[workload])]
    command += ["--shards", str(options.shards)] if options.shards else []
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd="/", stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(workload: str, found: dict[str, dict[str, Any]]) -> None:
    first = next(iter(found.values()))
    print(f"\n{workload}: {first['tasks']} tasks, {first['shards']} shards; ms per task outside of networks (in them)")
    for stage in {stage: None for one in found.values() for stage in one["stages"]}:
        cells = [one["stages"].get(stage, [0.0, 0.0]) for one in found.values()]
        print(f"  {stage:22}" + "".join(f"{outside:9.1f} ({inside:7.0f})" for outside, inside in cells))
    sums = [[sum(stage[k] for stage in one["stages"].values()) for k in (0, 1)] for one in found.values()]
    print(f"  {'all':22}" + "".join(f"{outside:9.1f} ({inside:7.0f})" for outside, inside in sums))
    for name in {name: None for one in found.values() for name in one["calls"]}:
        cells = [one["calls"].get(name, []) for one in found.values()]
        said = [f"{len(c)} calls, median {c[len(c) // 2]}, largest {c[-1]}" if c else "none" for c in cells]
        print(f"  {name}: {' | '.join(said)}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
