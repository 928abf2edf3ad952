"""Kill a campaign at random instants, resume it, and compare its archive with that of an undisturbed run.

    python benchmarks/kill_campaign.py --kills 100 --json kills.json
    python benchmarks/kill_campaign.py --kills 12 --analysis 1 --units-at-once 3

Each round is a campaign of its own on two Ray actors.  An actor, the raylet, the driver or a collector is killed
(SIGKILL) at a random instant, again and again; when the driver is gone, `inpaint-hpc resume` goes on.  When everything
is done the archive must hold every task exactly once with the samples of the undisturbed run, every result file must
be intact, and no process may be left.  Rounds go on until there were enough kills; the first four are of each kind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
import yaml

from inpaint_hpc.archive.compare import compare
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.cluster.processes import RUN, marked
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.network.weights import save_weights

ELEMENTS = "Li,Na,K,Rb,Mg,Ca,Sr,Ba,Zn,Al,Y,La,Ti,V,Cr,Fe,Co,Ni,Cu,Ag,Cd,In,Sn,Sb,Pb,Bi,Sc,Zr,Nb"
SIZES = {"scalars": 8, "channels": 4, "tensor_channels": 2, "hidden": 8, "host_layers": 1, "guest_layers": 1}
VICTIMS = ("actor", "actor", "actor", "actor", "driver", "driver", "raylet", "collector")
TOLERANCE = 1e-3  # A
PATIENCE = 600.0


@dataclass
class Tally:
    """What happened in all rounds."""

    kills: Counter = field(default_factory=Counter)
    rounds: int = 0
    resumes: int = 0
    tasks: int = 0
    problems: list[str] = field(default_factory=list)
    victims: list[str] = field(default_factory=list)
    samples: int = 0
    identical: int = 0
    within_tolerance: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how many in all (100)")
    parser.add_argument(
        "--samples", type=int, default=48, help="of each of the 203 tasks; more make rounds longer (48)"
    )
    parser.add_argument("--analysis", type=int, default=0, help="processes for the analysis beside each actor (0)")
    parser.add_argument("--units-at-once", type=int, default=1, help="units that each actor has in flight (1)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and instants (0)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    start = time.perf_counter()
    dice = random.Random(arguments.seed)
    tally = Tally(victims=dice.sample(sorted(set(VICTIMS)), len(set(VICTIMS))))
    with tempfile.TemporaryDirectory(prefix="kill-campaign-") as folder:
        each = {"analysis": arguments.analysis, "units_at_once": arguments.units_at_once}
        kill_rounds(Path(folder), arguments.kills, arguments.samples, each, dice, tally)
    figures = {
        "kills": sum(tally.kills.values()),
        "kills_by_victim": dict(tally.kills),
        "campaigns": tally.rounds,
        "resumes": tally.resumes,
        "tasks_per_campaign": tally.tasks // max(tally.rounds, 1),
        "samples": tally.samples,
        "samples_identical": tally.identical,
        "samples_within_1e-3_A": tally.within_tolerance,
        "problems": tally.problems,
        "seconds": round(time.perf_counter() - start, 1),
    }
    for name, value in figures.items():
        print(f"{name:<24} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("PASS" if not tally.problems else "FAIL")
    return 1 if tally.problems else 0


def kill_rounds(
    folder: Path, kills: int, samples: int, each: dict[str, int], dice: random.Random, tally: Tally
) -> None:
    """An undisturbed campaign, then disturbed ones until there were `kills` kills; `each` is what an actor gets."""
    config = write_campaign(folder, samples, each)
    reference = folder / "undisturbed"
    inpaint_hpc("run", str(config), "--out", str(reference), "--cluster", "inline", "--top", "0").check()
    while sum(tally.kills.values()) < kills and not tally.problems:
        run = folder / f"round-{tally.rounds}"
        enough = kills - sum(tally.kills.values())
        disturb(config, run, enough, dice, tally)
        tally.rounds += 1
        examine(run, reference, tally)


def write_campaign(folder: Path, samples: int, each: dict[str, int]) -> Path:
    """Random weights and the configuration of 203 tasks in about 24 shards; the configuration's path."""
    torch.manual_seed(0)
    network = ScoreNetwork(NetworkConfig(**SIZES))
    save_weights(network.state_dict(), folder / "tiny.safetensors", {"network": network.to_dict()})
    config = {
        "hosts": {"examples": "mno2"},
        "guests": [{element: 1} for element in ELEMENTS.split(",")],
        "output": str(folder / "run"),
        "samples": samples,
        "weights": str(folder / "tiny.safetensors"),
        "sampling": {"steps": 3},
        "pipeline": {"score": False, "redraws": 0},
        "resources": {"min_shards": 24, "actors": 2, "threads": 1, "device": "cpu", **each},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Command:
    """`inpaint-hpc` in a process of its own, with its output in a file."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read when the process has ended)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "inpaint_hpc", *words],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def check(self) -> None:
        """Wait for a good end."""
        if self.process.wait(PATIENCE) != 0:
            raise RuntimeError(
                f"inpaint-hpc {' '.join(self.words)} ended with {self.process.returncode}: {self.tail()}"
            )

    def tail(self) -> str:
        self.output.seek(0)
        return " | ".join(self.output.read().splitlines()[-5:])


def inpaint_hpc(*words: str) -> Command:
    """Start a verb."""
    return Command(*words)


def disturb(config: Path, run: Path, kills: int, dice: random.Random, tally: Tally) -> None:
    """One campaign from its creation to its end, with at most `kills` kills."""
    driver = inpaint_hpc("run", str(config), "--out", str(run), "--no-collect")
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if kills > 0:
                _wait_for_an_instant(run, driver, dice)
            else:
                driver.process.wait(PATIENCE)
            if not driver.running():
                status = driver.process.returncode
                if status == 0:
                    return
                if status != -signal.SIGKILL:
                    tally.problems.append(f"the driver ended with {status}: {driver.tail()}")
                    return
                driver = inpaint_hpc("resume", str(run), "--no-collect")
                tally.resumes += 1
                continue
            if not tally.victims:
                tally.victims = dice.sample(VICTIMS, len(VICTIMS))
            if run.joinpath("campaign.json").exists() and kill_one(tally.victims[0], run, driver, dice):
                tally.kills[tally.victims.pop(0)] += 1
                kills -= 1
        tally.problems.append(f"not done after {PATIENCE:.0f} s: {driver.tail()}")
    finally:
        if driver.running():
            driver.kill()


def _wait_for_an_instant(run: Path, driver: Command, dice: random.Random) -> None:
    """One in six comes at any time, also while everything starts; the others while units are being done."""
    if dice.random() > 1 / 6:
        before = _n_results(run)
        end = time.monotonic() + 120.0
        while driver.running() and _n_results(run) <= before and time.monotonic() < end:
            time.sleep(0.05)
    end = time.monotonic() + dice.uniform(0.0, 1.0)
    while driver.running() and time.monotonic() < end:
        time.sleep(0.02)


def _n_results(run: Path) -> int:
    return sum(1 for _ in run.glob("results/*/shard-*.h5"))


def kill_one(victim: str, run: Path, driver: Command, dice: random.Random) -> bool:
    """SIGKILL, as soon as there is such a process; False if the driver or the collector ended before."""
    if victim == "driver":
        driver.kill()
        return True
    if victim == "collector":
        while not _n_results(run):
            if not driver.running():
                return False
            time.sleep(0.02)
        collector = inpaint_hpc("collect", str(run))
        time.sleep(dice.uniform(0.2, 1.5))
        alive = collector.running()
        collector.kill()
        return alive
    word = {"actor": "UnitActor", "raylet": "raylet/raylet"}[victim]
    while driver.running():
        found = [process for process, words in _processes(run) if words and any(word in w for w in words[:2])]
        with contextlib.suppress(IndexError, psutil.NoSuchProcess):
            dice.choice(found).kill()
            return True
        time.sleep(0.02)
    return False


def _processes(run: Path) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Processes of a run with their command lines."""
    for process in marked({RUN: str(run.resolve())}):
        with contextlib.suppress(psutil.Error):
            yield process, process.cmdline()


def examine(run: Path, reference: Path, tally: Tally) -> None:
    """Collect, and note everything that is not as in the undisturbed run."""
    problems = tally.problems
    # The watchdog of a driver that was killed needs a moment.
    end = time.monotonic() + 15.0
    while (left := [process.pid for process, _ in _processes(run)]) and time.monotonic() < end:
        time.sleep(0.2)
    problems += [f"process {pid} is left" for pid in left]
    if not (run / "campaign.json").exists():
        problems.append(f"{run.name}: was never created")
        return
    directory = RunDirectory(run)
    problems += [f"{unit}: {problem}" for unit, problem in directory.damaged_units().items()]
    problems += [f"unit {unit} is pending" for unit in directory.pending_units(verify=True)]
    collector = inpaint_hpc("collect", str(run), "--strict")
    if collector.process.wait(PATIENCE) != 0:
        problems.append(f"collect: {collector.tail()}")
        return
    problems += verify(directory.archive_path)
    with Archive(directory.archive_path) as archive:
        ids = archive.task_ids()
    if sorted(ids) != sorted(task.id for task in directory.tasks(range(directory.n_tasks))):
        problems.append(f"the archive holds {len(ids)} tasks, {len(set(ids))} different ones, of {directory.n_tasks}")
    found = compare(reference / "archive.h5", directory.archive_path, TOLERANCE)
    if not found.same_tasks or found.unpaired or found.within_tolerance < found.samples:
        problems.append(f"not the archive of the undisturbed run: {found}")
    tally.tasks += len(ids)
    tally.samples += found.samples
    tally.identical += found.identical
    tally.within_tolerance += found.within_tolerance
    print(
        f"round {tally.rounds}: {sum(tally.kills.values())} kills so far, {len(ids)} tasks, {found.samples} samples, "
        f"{found.identical} identical, {found.within_tolerance} within {TOLERANCE} A",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
