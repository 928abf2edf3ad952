"""What `inpaint-hpc submit` costs: seconds to the first shard, and with a million tasks; on a SLURM of this machine.

python benchmarks/submit_latency.py --tasks 1000000

Needs the packages of slurm/dev-cluster, which is brought up in a temporary folder and taken down again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
from planning_scale import write_hosts, write_weights

from inpaint_hpc.campaign.run_directory import RunDirectory

SCRIPT = Path(__file__).resolve().parents[1] / "slurm" / "dev-cluster"
FIRST_SHARD_SECONDS, SUBMIT_SECONDS, PICKLE_BYTES = 40.0, 60.0, 4096
_EXAMPLE = """\
output: {output}
hosts: {{examples: mno2}}
guests: [Li: 1]
samples: 4
sampling: {{steps: 20}}
pipeline: {{score: false}}
resources: {{threads: 1, min_shards: 7}}
"""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A dev cluster; the environment for commands that use it."""
    environment = {**os.environ, "INPAINT_HPC_SLURM": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([SCRIPT, "up"], env=environment, check=True)
    try:
        yield environment | {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
    finally:
        subprocess.run([SCRIPT, "down", "--wipe"], env=environment, check=True)


def inpaint_hpc(environment: dict[str, str], *arguments: str | Path) -> tuple[float, str]:
    """Seconds and stdout of a command line."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "inpaint_hpc", *map(str, arguments)]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, said


def first_shard(folder: Path, environment: dict[str, str], nodes: int) -> dict[str, float]:
    """Seconds from the call of `submit` with a configuration to milestones of the job."""
    config = folder / f"example-{nodes}.yaml"
    config.write_text(_EXAMPLE.format(output=folder / f"example-{nodes}"))
    start = time.time()
    options = ("--nodes", nodes, "--time", "10", "--cpus-per-task", "1")
    seconds, said = inpaint_hpc(environment, "submit", config, *options)
    run = RunDirectory(folder / f"example-{nodes}")
    meeting = run.path / "slurm" / said.split()[0]
    found = {"submit": seconds}
    while "first shard" not in found:
        now = time.time()
        if now - start > 300:
            raise SystemExit(f"no shard within 300 s; see {meeting}")
        if "job runs" not in found and list(meeting.glob("node-0-0.json")):
            found["job runs"] = now - start
        if "Ray runs" not in found and list(meeting.glob("head-0.json")):
            found["Ray runs"] = now - start
        if run.result_units():
            found["first shard"] = now - start
        time.sleep(0.1)
    inpaint_hpc(environment, "cancel", run.path)
    while subprocess.run(["squeue", "-h"], env=environment, check=True, capture_output=True).stdout:
        time.sleep(0.5)
    return found


def million(folder: Path, environment: dict[str, str], tasks: int) -> dict[str, float]:
    """Seconds of creating a campaign, and of submitting what was created; bytes of the pickle."""
    write_hosts(folder / "hosts.h5", -(-tasks * 257 // 1000))
    write_weights(folder / "untrained.safetensors")
    config = folder / "large.yaml"
    config.write_text(
        f"hosts: {folder / 'hosts.h5'}\nguests: [Li, Na, Mg, Ca]\noutput: {folder / 'large'}\n"
        f"weights: {folder / 'untrained.safetensors'}\n"
    )
    create = (
        "import sys; from inpaint_hpc.campaign.config import load_config; "
        "from inpaint_hpc.planning.create_run import create_run; create_run(load_config(sys.argv[1]))"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", create, str(config)], env=environment, check=True)
    planning = time.perf_counter() - start
    # Nothing shall start: only the submission counts.
    subprocess.run(["scontrol", "update", "partition=main", "state=down"], env=environment, check=True)
    options = ("--nodes", "2", "--allocations", "20", "--time", "60")
    seconds, said = inpaint_hpc(environment, "submit", folder / "large", *options)
    run = RunDirectory(folder / "large")
    pickles = list((run.path / "slurm" / said.split()[0]).glob("*_submitted.pkl"))
    assert len(pickles) == 20
    inpaint_hpc(environment, "cancel", run.path)
    return {
        "tasks": run.n_tasks,
        "shards": run.n_shards,
        "planning": planning,
        "submit": seconds,
        "pickle": max(path.stat().st_size for path in pickles),
    }


@click.command()
@click.option("--tasks", default=1_000_000, show_default=True, help="At least so many in the large campaign.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(tasks: int, json_file: Path | None) -> None:
    """Print the figures beside their limits; exit status 1 if one is missed."""
    with tempfile.TemporaryDirectory(prefix="ihpc-lat-") as name:
        folder = Path(name)
        with cluster(folder / "slurm") as environment:
            first = {nodes: first_shard(folder, environment, nodes) for nodes in (1, 2)}
            large = million(folder, environment, tasks)
    rows: list[tuple[str, float, float | None]] = []
    for nodes, found in first.items():
        where = f"{nodes} node{'s' * (nodes > 1)}"
        rows += [(f"{where}: {what}, s", value, None) for what, value in found.items() if what != "first shard"]
        rows.append((f"{where}: first shard done, s", found["first shard"], FIRST_SHARD_SECONDS))
    rows += [
        ("tasks of the large campaign", large["tasks"], None),
        ("its shards", large["shards"], None),
        ("planning it, s", large["planning"], None),
        ("submitting it as 20 allocations of 2 nodes, s", large["submit"], SUBMIT_SECONDS),
        ("pickle of an allocation, bytes", large["pickle"], PICKLE_BYTES),
    ]
    missed = []
    for label, value, limit in rows:
        good = limit is None or value <= limit
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
        bound = "" if limit is None else f"<= {limit:,}{'' if good else '   MISSED'}"
        click.echo(f"{label:<48}{shown:>12}   {bound}")
        missed += [] if good else [label]
    if json_file is not None:
        figures = {label: value for label, value, _ in rows}
        json_file.write_text(json.dumps({**figures, "missed": missed}, indent=2) + "\n")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
