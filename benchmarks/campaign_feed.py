"""Is a card kept busy by a campaign?  Measured CPU time, modelled card, virtual time.

    python benchmarks/campaign_feed.py ../shared/data/wbm_dev.h5
    python benchmarks/campaign_feed.py ../shared/data/wbm_dev.h5 --profile 15          # where the CPU time goes
    python benchmarks/campaign_feed.py ../shared/data/electrodes_dev.h5 --workload electrodes
    python benchmarks/campaign_feed.py ../shared/data/wbm_dev.h5 --actors 4 --analysis 5 --units 3

The workload `wbm` puts one Li into WBM crystals; `electrodes` has the settings of configs/electrodes.yaml, several
guests that are placed in every way and relaxed.  First a few hosts are run with the real networks on this CPU, or taken
from a folder of an earlier run (`--keep`, then `--recorded`).  Then units of a campaign of their copies, each with a
slightly larger cell so that nothing is remembered between them, are run by a real worker; only the networks are
replaced, by the recorded samples and by energies and forces made up from the positions.  That gives the CPU time of
each step, by the clock of the thread, and the calls of the card.  A simulation then plays actors, units in flight and
analysis processes on one card, whose calls take what was measured on it (`--card`, a file such as
`benchmarks/cards/h200.json`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import pstats
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from feed_parts.answers import Answers, recording
from feed_parts.card import Call, Card
from feed_parts.simulation import Setup, play
from feed_parts.standins import Analysed, Item, Own, Recorder, Step, handover, stand_ins

HERE = Path(__file__).resolve().parent
ARCHIVE, ANSWERS = "recorded.h5", "answers.npz"
EDGES = 20_000_000  # in a batch of the card: that of a unit
CORES = 16
MANY = 16  # calls that are not printed one by one
WARM = 16  # tasks that are run before any is measured
# Actors, analysis processes of each, units in flight of each.
SETUPS = ((1, 0, 1), (1, 12, 1), (1, 12, 3), (2, 9, 3), (3, 6, 3), (4, 5, 3), (5, 4, 3), (16, 0, 1))


@dataclass(frozen=True)
class Workload:
    """A kind of campaign.

    Attributes:
        hosts, settings: of its configuration.
        tasks: of a unit, as a large campaign for a GPU has them.
        recorded: hosts that are run with the networks.
        units: that are measured.
        campaign: tasks that are played.
    """

    hosts: dict[str, Any]
    settings: dict[str, Any]
    tasks: int
    recorded: int
    units: int
    campaign: int


def workload_of(name: str) -> Workload:
    if name == "wbm":
        settings = {"guests": [{"Li": 1}], "samples": 16, "sampling": {"steps": 40}}
        return Workload({}, settings, tasks=1024, recorded=36, units=2, campaign=257_000)
    settings = yaml.safe_load((HERE.parent / "configs" / "electrodes.yaml").read_text(encoding="utf-8"))
    hosts = settings.pop("hosts")
    return Workload(hosts, settings, tasks=576, recorded=20, units=1, campaign=30_000)


def campaign(path: Path, workload: Workload, hosts: dict[str, Any], resources: dict[str, Any]) -> Any:
    from inpaint_hpc.campaign.config import CampaignConfig
    from inpaint_hpc.planning.create_run import create_run

    settings = workload.settings | {
        "hosts": hosts,
        "resources": {"device": "cpu", "shard_minutes": 1e9, "min_shards": 1, **resources},
        "output": str(path),
    }
    return create_run(CampaignConfig(**settings), path)


def record(workload: Workload, data: Path, n_hosts: int, folder: Path) -> None:
    """Run some hosts of at most 40 atoms with the networks; `folder` gets the archive and the answers."""
    from inpaint_hpc.campaign.run_results import collect_run
    from inpaint_hpc.campaign.worker import ShardWorker
    from inpaint_hpc.crystals.packed import PackedDataset, hash_order

    dataset = PackedDataset(data, prefix=workload.hosts.get("prefix", ""))
    where = [dataset.columns[name] == value for name, value in workload.hosts.get("where", {}).items()]
    rows = [k for k in range(len(dataset)) if 2 <= dataset.n_atoms[k] <= 40 and all(column[k] for column in where)]
    chosen = [dataset.ids[row] for row in hash_order(rows, dataset.ids.__getitem__)[:n_hosts]]
    hosts = workload.hosts | {"path": str(data), "select": ",".join(chosen), "skip_bad": True}
    run = campaign(folder / "run", workload, hosts, {})
    worker = ShardWorker(run.path, "cpu", 1, "recorder")
    answers = Answers()
    with recording(answers):
        for unit in run.pending_units():
            worker.run_unit(unit)
    worker.close()
    collect_run(run)
    shutil.copy(run.archive_path, folder / ARCHIVE)
    answers.save(folder / ANSWERS)


def copies(archive: Path, first: int, count: int, path: Path) -> None:
    """A packed file of copies of an archive's hosts, named host#copy, from the copy with a number on."""
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.crystals.packed_writing import write_packed

    with Archive(archive) as opened:
        hosts = [
            replace(record.host, info={"species": int(record.guests[0]), "count": len(record.guests)})
            for record in opened.iter_records()
            if len(record.samples)
        ]
    numbered = [(k, hosts[k % len(hosts)]) for k in range(first, first + count)]
    write_packed(
        path,
        [
            replace(host, name=f"{host.name}#{k}", lattice=host.lattice * (1 + 1e-6 * (1 + k // len(hosts))))
            for k, host in numbered
        ],
    )


def measure(
    workload: Workload, recorded: Path, tasks: int, units: int, profile: bool, folder: Path
) -> tuple[list[list[Step]], Recorder, list[int]]:
    """Steps of units, the recorder, and steps of all relaxations; a smaller unit before them is not measured."""
    from inpaint_hpc.campaign.worker import ShardWorker

    recorder = Recorder(profile)
    found: list[list[Step]] = []
    relaxed: list[int] = []
    copied = {"guests": [{"from_columns": {"species": "species", "count": "count"}}]}
    workload = replace(workload, settings=workload.settings | copied)
    with stand_ins(recorder, Answers.load(recorded / ANSWERS), relaxed):
        for k in range(units + 1):
            count = tasks if k else min(tasks, WARM)
            copies(recorded / ARCHIVE, k * tasks, count, folder / f"{k}.h5")
            resources = {"shard_tasks": tasks, "edge_budget": EDGES}
            run = campaign(folder / f"run-{k}", workload, {"path": str(folder / f"{k}.h5")}, resources)
            worker = ShardWorker(run.path, "cpu", 1, "feed", analysis=1)
            (unit,) = run.pending_units()
            recorder.begin()
            report = worker.run_unit(unit)
            steps = recorder.end()
            worker.close()
            if report.failed:
                raise SystemExit(f"{report.failed} tasks failed: {report.error}")
            found += [steps] if k else []
    recorder.end_process()
    return found, recorder, relaxed


def handed_over(units: Sequence[Sequence[Step]], factor: float) -> list[list[Step]]:
    """The same with what the threads and pipes of a pool take, on cores that take `factor` of the time here."""
    ours, theirs = handover()

    def scaled(step: Step) -> Step:
        if isinstance(step, Own):
            return Own(factor * step.seconds)
        if isinstance(step, Analysed):
            parts = [
                Item(i.sent + 0.5 * ours, i.pickling + theirs, i.function, i.received + 0.5 * ours, i.used)
                for i in step.items
            ]
            return Analysed(tuple(Item(*(factor * value for value in vars(part).values())) for part in parts))
        return step

    return [[scaled(step) for step in unit] for unit in units]


def summary(units: Sequence[Sequence[Step]], card: Card) -> dict[str, Any]:
    """Per task: CPU time in ms, work of the card, and the calls of a unit."""
    steps = [step for unit in units for step in unit]
    items = [item for step in steps if isinstance(step, Analysed) for item in step.items]
    tasks = sum(max(len(step.items) for step in unit if isinstance(step, Analysed)) for unit in units)
    calls = [step for step in steps if isinstance(step, Call)]
    own = sum(step.seconds for step in steps if isinstance(step, Own)) + sum(item.used for item in items)
    costs = [card.cost(call) for call in calls]
    return {
        "tasks": tasks // len(units),
        "units": len(units),
        "own_ms": 1e3 * own / tasks,
        "analysis_ms": 1e3 * sum(item.function for item in items) / tasks,
        "sending_ms": 1e3 * sum(item.sent + item.received for item in items) / tasks,
        "pickling_ms": 1e3 * sum(item.pickling for item in items) / tasks,
        "work_ms": 1e3 * sum(cost.work for cost in costs) / tasks,
        "in_calls_s": sum(cost.length for cost in costs) / len(units),
        "calls": [vars(step) for step in units[0] if isinstance(step, Call)],
    }


def print_calls(card: Card, calls: Sequence[Call]) -> None:
    """In their order; where there are many, by their kind."""
    groups: dict[Any, list[Call]] = {}
    for k, call in enumerate(calls):
        groups.setdefault((call.kind, call.evaluations) if len(calls) > MANY else k, []).append(call)
    for group in groups.values():
        costs = [card.cost(call) for call in group]
        count, size = (int(np.median([getattr(call, name) for call in group])) for name in ("count", "size"))
        times = f"{len(group)} x " if len(group) > 1 else ""
        print(
            f"  {group[0].kind}: {times}{count} of {size} guests or atoms, {sum(cost.length for cost in costs):.2f} s"
            f" (work {sum(cost.work for cost in costs):.2f} s)"
        )


def table(card: Card, units: Sequence[Sequence[Step]], setups: Sequence[Setup], tasks: int) -> list[dict[str, Any]]:
    rows = []
    print(f"\nmodelled: actors  analysis  units | tasks/s | in calls  kernels  work | cores | {tasks:,} tasks")
    for setup in setups:
        found = play(card, units, setup, tasks)
        print(
            f"          {setup.actors:6} {setup.actors * setup.analysis:9} {setup.units:6} |"
            f" {found.tasks_per_s:7.1f} | {found.in_calls:7.0%} {found.kernels:8.0%} {found.work:6.1%} |"
            f" {found.cores:4.0%}  | {found.seconds / 60:6.1f} min",
            flush=True,
        )
        rows.append({**vars(setup), **vars(found), "hours": found.seconds / 3600})
    return rows


def print_profile(recorder: Recorder, tasks: int, lines: int) -> None:
    """Functions by their own time; the profiler makes short ones look longer."""
    for name, profile in (recorder.profiles or {}).items():
        stats = pstats.Stats(profile)
        entries = [(own, total, calls, where) for where, (_, calls, own, total, _) in stats.stats.items()]
        for key, title in ((0, "own time"), (1, "with what they call")):
            print(f"\n{name}, profiled: {title}, ms per task; calls per task")
            for entry in sorted(entries, key=lambda one: -one[key])[:lines]:
                file, line, function = entry[3]
                place = f"{Path(file).parent.name}/{Path(file).name}:{line} " if line else ""
                print(f"  {1e3 * entry[key] / tasks:7.2f} {entry[2] / tasks:8.1f}  {place}{function}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="packed file of hosts")
    parser.add_argument("--workload", choices=("wbm", "electrodes"), default="wbm", help="(default: %(default)s)")
    parser.add_argument("--recorded", type=Path, help="folder of an earlier --keep, instead of running hosts of DATA")
    parser.add_argument("--hosts", type=int, help="run with the networks (default: 36 or 20)")
    parser.add_argument("--tasks", type=int, help="of a unit (default: 1024 or 576, as for a GPU)")
    parser.add_argument("--measure", type=int, help="units (default: 2 or 1)")
    parser.add_argument("--card", type=Path, default=HERE / "cards" / "h200.json", help="figures of the card")
    parser.add_argument("--cores", type=int, default=CORES, help="of the machine with the card (default: %(default)s)")
    parser.add_argument("--cpu", type=float, default=1.0, help="CPU time there over that here (default: %(default)s)")
    parser.add_argument("--actors", type=int, help="one setup instead of the table: actors")
    parser.add_argument("--analysis", type=int, default=0, help="analysis processes of each actor")
    parser.add_argument("--units", type=int, default=1, help="units in flight in each actor")
    parser.add_argument("--campaign", type=int, help="tasks to play (default: 257000 or 30000)")
    parser.add_argument("--profile", type=int, default=0, metavar="LINES", help="profile; no table")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--keep", type=Path, help="folder for what is recorded and the runs")
    options = parser.parse_args()
    if options.recorded is None and options.data is None:
        parser.error("a packed file or --recorded is needed")
    logging.disable(logging.INFO)
    card, workload = Card.read(options.card), workload_of(options.workload)
    tasks, measured = options.tasks or workload.tasks, options.measure or workload.units
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="feed-")))
        folder.mkdir(parents=True, exist_ok=True)
        if options.recorded is None:
            record(workload, options.data, options.hosts or workload.recorded, folder)
        recorded = options.recorded or folder
        units, recorder, relaxed = measure(workload, recorded, tasks, measured, bool(options.profile), folder)
        steps = {"recorded": Answers.load(recorded / ANSWERS).steps, "here": relaxed}
    if options.profile:
        print_profile(recorder, tasks * measured + min(tasks, WARM), options.profile)
        return
    units = handed_over(units, options.cpu)
    found = summary(units, card)
    print(
        f"{found['units']} units of {found['tasks']} tasks; measured CPU ms per task (thread time, x {options.cpu:g}):"
    )
    print(f"  in the actor {found['own_ms']:.2f}; analysis {found['analysis_ms']:.2f}, in the actor or beside it;")
    print(f"  beside it also {found['sending_ms']:.2f} in the actor and {found['pickling_ms']:.2f} in the processes")
    print(
        f"{card.name}, modelled: work {found['work_ms']:.2f} ms per task; calls of a unit, {found['in_calls_s']:.2f} s:"
    )
    print_calls(card, [Call(**call) for call in found["calls"]])
    if relaxed:
        both = ", ".join(f"{name} {np.mean(of):.1f}, at most {max(of)}" for name, of in steps.items())
        print(f"steps of a relaxation: {both}")
    print("Modelled too: a card shared as under MPS, and calls that launch kernels in the interpreter of their actor.")
    print("Left out: the start of actors, Ray, memory of the card.  All units are full.")
    chosen = SETUPS if options.actors is None else ((options.actors, options.analysis, options.units),)
    setups = [Setup(*setup, options.cores, oldest_first=True) for setup in chosen]
    rows = table(card, units, setups, options.campaign or workload.campaign)
    if options.json:
        options.json.write_text(
            json.dumps({"card": card.name, **found, "steps": steps, "setups": rows}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    sys.exit(main())
