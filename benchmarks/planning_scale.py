"""Creating a campaign of a million tasks, and asking for its status: seconds and memory, in processes of their own.

python benchmarks/planning_scale.py --tasks 1000000

Hosts are synthetic: random elements on a jittered grid, 4 to 27 atoms, in a packed file like that of WBM.  Four ions
are placed in each of them: 257,000 hosts for a million tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

CREATE_SECONDS, CREATE_GIB, STATUS_SECONDS = 300.0, 2.0, 2.0

# Run in a fresh process: what it needs is what a user's process needs.
_CREATE = """
import json, resource, sys, time
from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.planning.create_run import create_run
start = time.perf_counter()
run = create_run(load_config(sys.argv[1]))
seconds = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds,
    "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "counts": run.info["counts"],
}))
"""


def write_hosts(path: Path, count: int, seed: int = 0) -> None:
    """A packed file of `count` synthetic crystals."""
    import h5py

    rng = np.random.default_rng(seed)
    elements = np.array([3, 8, 9, 11, 12, 14, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 28, 30, 40, 41], dtype=np.uint8)
    side = rng.choice([2, 3], size=count, p=[0.6, 0.4])
    n_atoms = rng.integers(4, side**3 + 1)
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    host = np.repeat(np.arange(count), n_atoms)
    place = np.arange(offsets[-1]) - offsets[host]
    grid = np.stack([place % side[host], place // side[host] % side[host], place // side[host] ** 2], axis=1)
    frac = (grid + 0.25 + 0.15 * rng.random((len(host), 3))) / side[host][:, None]
    lattice = np.zeros((count, 3, 3))
    lattice[:, [0, 1, 2], [0, 1, 2]] = 3.0 * side[:, None] * (1.0 + 0.2 * rng.random((count, 3)))
    lattice[:, [1, 2, 2], [0, 0, 1]] = 0.3 * side[:, None] * rng.standard_normal((count, 3))
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": True}
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = "1.0"
        file.create_dataset("ids", data=[f"synthetic-{row}" for row in range(count)], dtype=h5py.string_dtype())
        file.create_dataset("n_atoms", data=n_atoms.astype(np.int32), **options)
        file.create_dataset("numbers", data=rng.choice(elements, size=len(host)), **options)
        file.create_dataset("frac_coords", data=frac.astype(np.float32), **options)
        file.create_dataset("lattice", data=lattice.astype(np.float32), **options)
        file.create_dataset("formation_energy", data=rng.standard_normal(count), **options)


def write_weights(path: Path) -> None:
    """Weights of a network that was never trained: planning needs only their digest and sizes."""
    from dataclasses import asdict

    from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
    from inpaint_hpc.network.weights import save_weights

    config = NetworkConfig()
    save_weights(ScoreNetwork(config).state_dict(), path, {"name": "untrained", "network": asdict(config)})


def finish(run_path: Path) -> None:
    """Pretend that all shards but one are done: `status` counts result files by name and reads the reports."""
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.campaign.work_units import UnitReport

    run = RunDirectory(run_path)
    journals = [run.report_journal(f"worker-{k}") for k in range(8)]
    for unit in run.pending_units()[1:]:
        path = run.result_path(unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"result")
        report = UnitReport(unit, len(unit), 16 * len(unit), 1, 0, 60.0, {"sample": 60.0}, "worker", time.time())
        journals[unit.shard % 8].append(**report.as_dict())
    for journal in journals:
        journal.close()


def timed_status(run_path: Path, runs: int) -> tuple[float, dict]:
    """Wall time of `inpaint-hpc status RUN --json` from a shell, the median, and what it said."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        command = [sys.executable, "-m", "inpaint_hpc", "status", str(run_path), "--json"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), json.loads(output)


@click.command()
@click.option("--tasks", default=1_000_000, show_default=True, help="At least so many tasks.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(tasks: int, json_file: Path | None) -> None:
    """Print the figures beside their limits; exit status 1 if one is missed."""
    with tempfile.TemporaryDirectory(prefix="planning-scale-") as folder:
        base = Path(folder)
        # A little more than a quarter: some hosts have no room for an ion.
        write_hosts(base / "hosts.h5", -(-tasks * 257 // 1000))
        write_weights(base / "untrained.safetensors")
        config = base / "campaign.yaml"
        config.write_text(
            f"hosts: {base / 'hosts.h5'}\nguests: [Li, Na, Mg, Ca]\noutput: {base / 'run'}\n"
            f"weights: {base / 'untrained.safetensors'}\n"
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", _CREATE, str(config)]
        created = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        )
        disk = sum(file.stat().st_size for file in (base / "run").iterdir())
        fresh, state = timed_status(base / "run", 3 if tasks >= 100_000 else 1)
        finish(base / "run")
        full, done = timed_status(base / "run", 3 if tasks >= 100_000 else 1)
    assert state["tasks_done"] == 0 and done["shards_done"] == done["shards"] - 1
    counts = created["counts"]
    rows = [
        ("tasks", counts["tasks"], tasks, ">="),
        ("hosts", counts["hosts"], None, ""),
        ("shards", counts["shards"], None, ""),
        ("creation, s", created["seconds"], CREATE_SECONDS, "<="),
        ("peak memory of creation, GiB", created["peak_GiB"], CREATE_GIB, "<="),
        ("run directory, MB", disk / 1e6, None, ""),
        ("status, nothing done, s", fresh, STATUS_SECONDS, "<="),
        ("status, all but one shard done, s", full, STATUS_SECONDS, "<="),
    ]
    missed = []
    for name, value, limit, sign in rows:
        good = limit is None or (value >= limit if sign == ">=" else value <= limit)
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
        bound = "" if limit is None else f"{sign} {limit:,}{'' if good else '   MISSED'}"
        click.echo(f"{name:<36}{shown:>12}   {bound}")
        missed += [] if good else [name]
    if json_file is not None:
        figures = {name: value for name, value, _, _ in rows}
        json_file.write_text(json.dumps({**figures, "left_out": counts["left_out"], "missed": missed}, indent=2) + "\n")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
