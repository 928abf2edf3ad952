"""Joint placement of ions in real empty hosts: insertion-electrode pairs, hosts relaxed without the ion.

    python benchmarks/electrodes.py ../shared/data/electrodes_dev.h5 --samples 16

Samples alone, without ranking or relaxation; `benchmarks/many_guests.py` measures what the tool hands out.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

GROUPS = {"1": (1, 1), "2-3": (2, 3), "4-7": (4, 7), "8+": (8, 10_000)}


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", default=0, show_default=True, help="Pairs with the lowest hashes of their ids; 0 takes all.")
@click.option("--max-atoms", default=60, show_default=True, help="Of the discharged structure.")
@click.option("--samples", default=16, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--weights", default=None)
@click.option("--records", type=click.Path(path_type=Path), help="Also write one JSON line per pair.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(packed, limit, max_atoms, samples, steps, weights, records, json_file) -> None:
    """Print match rates by number of guests, recommended pairs only."""
    from inpaint_hpc.benchmark.reconstruction import intercalate, summarize
    from inpaint_hpc.crystals.packed import hash_order, read_electrodes
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.sample import SamplingSettings

    network = load_network(weights)
    pairs = [p for p in read_electrodes(packed) if p.info["recommended"] and len(p.reference) <= max_atoms]
    pairs = hash_order(pairs)[: limit or None]
    started = time.perf_counter()
    results = intercalate(network, pairs, SamplingSettings(samples=samples, steps=steps))
    seconds = time.perf_counter() - started
    if records:
        records.write_text("".join(json.dumps(result.row()) + "\n" for result in results))
    report = {"packed": Path(packed).name, "weights": network.info.sha256, "nfe": steps, "samples": samples}
    report |= {"seconds": seconds, "guests": {}}
    print(f"StructureMatcher(ltol=0.3, stol=0.3).fit; {steps} NFE; 95 % bootstrap intervals over pairs")
    print(f"{'guests':8} {'pairs':>5}  {'one sample':>18}  {f'any of {samples}':>18}  {'RMSD (A)':>8}")
    for name, (low, high) in {**GROUPS, "all": (1, 10_000)}.items():
        row = summarize([r for r in results if low <= r.n_guests <= high])
        report["guests"][name] = row
        if row["hosts"]:
            cells = [_cell(row, "one"), _cell(row, "any")]
            rmsd = "-" if row["rmsd"] is None else f"{row['rmsd']:.2f}"
            print(f"{name:8} {row['hosts']:5d}  {cells[0]:>18}  {cells[1]:>18}  {rmsd:>8}")
    print(f"{seconds:.0f} s")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _cell(row: dict, name: str) -> str:
    return f"{100 * row[name]:.1f} % ({100 * row[name + '_low']:.0f}-{100 * row[name + '_high']:.0f})"


if __name__ == "__main__":
    main()
