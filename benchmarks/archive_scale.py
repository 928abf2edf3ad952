"""Reading an archive of a million samples: seconds and peak memory of each verb, in processes of their own.

python benchmarks/archive_scale.py demo/run/archive.h5 --samples 1000000

Tasks are those of a small archive again and again, each time with other ids, and cells and positions a little changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

SECONDS, GIB = 120.0, 2.0
_TASKS_TOGETHER = 2000


def write_archive(source: Path, out: Path, samples: int, spread: bool = False) -> dict[str, int]:
    """An archive of at least so many samples, and what it holds; with `spread` each sample is a candidate."""
    from inpaint_hpc.archive.append import appendable_archive
    from inpaint_hpc.archive.columns import from_records
    from inpaint_hpc.archive.read import Archive

    with Archive(source) as archive:
        records, attributes = list(archive.iter_records()), archive.attributes
    records = [_spread(record) for record in records] if spread else records
    drawn = sum(len(record.samples) for record in records)
    if not drawn:
        raise click.UsageError(f"{source}: has no samples")
    copies = -(-samples // drawn)
    together = max(1, _TASKS_TOGETHER // len(records))
    widest = from_records([_changed(record, copies) for record in records])
    layout = {(table, name): values.dtype for table, columns in widest.items() for name, values in columns.items()}
    own = {"schema", "schema_version", "units", "created", "n_expected", *(f"n_{table}" for table in widest)}
    kept = {name: value for name, value in attributes.items() if name not in own}
    with appendable_archive(out, layout, kept) as archive:
        for start in range(0, copies, together):
            part = range(start, min(start + together, copies))
            block = from_records([_changed(record, copy) for copy in part for record in records])
            archive.append(_scattered(block, np.random.default_rng(start)))
        return {table: archive.size(table) for table in ("tasks", "hosts", "samples", "candidates", "failures")}


def _scattered(block, rng: np.random.Generator):
    """The block with small changes of positions and distances: equal copies would be compressed to almost nothing."""
    for table in ("samples", "candidates"):
        columns = block[table]
        frac, distance = columns["guest_frac_coords"], columns["min_distance_A"]
        columns["guest_frac_coords"] = (frac + 1e-6 * rng.random(frac.shape)) % 1.0
        columns["min_distance_A"] = distance * (1.0 + 1e-6 * rng.random(distance.shape))
    return block


def _changed(record, copy: int):
    lattice = record.host.lattice * (1.0 + 1e-9 * copy)
    host = replace(record.host, lattice=lattice, name=f"{record.host.name}-{copy:07d}")
    task_id = hashlib.sha256(f"{record.task_id} {copy}".encode()).hexdigest()
    return replace(record, task_id=task_id, host=host, host_id="")


def _spread(record):
    """Each possible sample as a candidate of its own, with the energies of the first."""
    if not record.candidates:
        return record
    first, samples = record.candidates[0], list(record.samples)
    possible = [place for place, sample in enumerate(samples) if sample.valid]
    found = []
    for rank, place in enumerate(possible):
        one = samples[place]
        samples[place] = replace(one, candidate=rank)
        changes = {"sample": one.index, "members": (one.index,), "guest_frac_coords": one.guest_frac_coords}
        found.append(replace(first, rank=rank, agreement=1.0 / len(possible), **changes))
    return replace(record, samples=samples, candidates=found)


def measured(command: list[str]) -> dict[str, float]:
    """Wall time, CPU time and peak memory of `inpaint-hpc ...`.

    Raises:
        SystemExit: it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "inpaint_hpc", *command], env=environment, stdout=subprocess.DEVNULL
    )
    # Not getrusage(RUSAGE_CHILDREN), which is the largest of all children so far.
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"inpaint-hpc {' '.join(command)} failed with {child.returncode}")
    seconds, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_GiB": usage.ru_maxrss / 2**20}


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--samples", default=1_000_000, show_default=True, help="At least so many.")
@click.option("--spread", is_flag=True, help="Make each possible sample a candidate, as if no two agreed.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(source: Path, samples: int, spread: bool, json_file: Path | None) -> None:
    """Print the figures of each verb; exit status 1 if one takes more than 2 minutes or 2 GiB."""
    with tempfile.TemporaryDirectory(prefix="archive-scale-") as folder:
        base = Path(folder)
        archive = base / "archive.h5"
        start = time.perf_counter()
        sizes = write_archive(source, archive, samples, spread)
        click.echo(", ".join(f"{count:,} {table}" for table, count in sizes.items()), nl=False)
        click.echo(f", {archive.stat().st_size / 1e6:.0f} MB, written in {time.perf_counter() - start:.0f} s")
        path = str(archive)
        export = ["export", path, "--all", "--format"]
        verbs = {
            "show": ["show", path],
            "query, few fit": ["query", path, "rank == 0 and agreement > 0.99", "--sort", "energy_per_atom_eV"],
            "query, by Wyckoff position": ["query", path, 'wyckoff == "8a" and rank == 0'],
            "query, all fit, CSV": ["query", path, "rank >= 0", "--csv", str(base / "query.csv")],
            "query, all fit, Parquet": ["query", path, "rank >= 0", "--parquet", str(base / "query.parquet")],
            "export, all, CSV": [*export, "csv", "--out", str(base / "all.csv")],
            "export, all, Parquet": [*export, "parquet", "--out", str(base / "all.parquet")],
            "report, first 200": ["report", path, "--top", "200", "--out", str(base / "report.html")],
            "verify": ["verify", path],
        }
        figures = {}
        for name, command in verbs.items():
            found = measured(command)
            missed = found["seconds"] > SECONDS or found["peak_GiB"] > GIB
            figures[name] = found | {"missed": missed}
            times = f"{found['seconds']:8.1f} s {found['cpu_seconds']:8.1f} CPU s"
            click.echo(f"{name:<28}{times} {found['peak_GiB']:7.2f} GiB{'   MISSED' if missed else ''}")
    if json_file is not None:
        json_file.write_text(json.dumps({"sizes": sizes, "verbs": figures}, indent=2) + "\n")
    sys.exit(any(one["missed"] for one in figures.values()))


if __name__ == "__main__":
    main()
