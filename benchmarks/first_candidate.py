"""Is the tool's first candidate right?  All atoms of an ion out of WBM crystals, placed with the tool's defaults.

python benchmarks/first_candidate.py wbm_dev.h5 --ions Li,Na,Mg,Ca --limit 40 --rows rows.jsonl --json table.json

Rows are written at once; hosts that are in `--rows` already are not run again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--ions", default="Li,Na,Mg,Ca", show_default=True)
@click.option("--limit", default=40, show_default=True, help="Random hosts per ion.")
@click.option("--max-atoms", default=40, show_default=True)
@click.option("--samples", default=16, show_default=True, help="Joint samples.")
@click.option("--evaluations", default=48, show_default=True, help="CHGNet energies of orderings of each host.")
@click.option("--relax", type=click.Choice(["none", "guests"]), default="none", show_default=True)
@click.option("--weights", default=None, help="Packaged set or .safetensors file.")
@click.option("--seed", default=0, show_default=True, help="Of the choice of hosts.")
@click.option("--rows", type=click.Path(path_type=Path), help="JSON lines, one per host.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the table as JSON.")
@click.option("--minutes", type=float, help="Start no new host after so long.")
def main(packed, ions, limit, max_atoms, samples, evaluations, relax, weights, seed, rows, json_file, minutes) -> None:
    """Print one row per ion: first candidate right with joint samples only, the site network only, both."""
    import torch
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.first_candidate import first_candidate, summarize_first
    from inpaint_hpc.benchmark.many_guests import share
    from inpaint_hpc.benchmark.reconstruction import choose_references
    from inpaint_hpc.network.weights import load_network

    torch.set_num_threads(1)
    network = load_network(weights)
    # A row counts only for the same way of making it.
    how = {"weights": network.info.sha256, "samples": samples, "evaluations": evaluations, "relax": relax}
    known = {}
    if rows is not None and rows.exists():
        written = map(json.loads, rows.read_text().splitlines())
        known = {(row["id"], row["ion"]): row for row in written if row.get("how") == how}
    begin = time.perf_counter()
    report = {"packed": Path(packed).name, "weights": network.info.sha256, "ions": {}}
    chosen = {
        ion: choose_references(packed, atomic_numbers[ion], limit, max_atoms, seed) for ion in ions.split(",")
    }  # fmt: skip
    found = {ion: [] for ion in chosen}
    # Ions take turns, so that a run that is cut has all of them.
    for k in range(limit):
        for ion, references in chosen.items():
            if k >= len(references):
                continue
            row = known.get((references[k].name, atomic_numbers[ion]))
            if row is None:
                if minutes is not None and time.perf_counter() - begin > 60 * minutes:
                    continue
                row = first_candidate(
                    network, references[k], atomic_numbers[ion], samples, evaluations=evaluations, relax=relax
                )
                row["how"] = how
                if rows is not None:
                    with rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                print(f"{ion} {row['id']}: {'right' if row['top1'] else 'wrong'}", file=sys.stderr)
            found[ion].append(row)
    print("StructureMatcher(ltol=0.2, stol=0.2).fit of the first candidate; 95 % Wilson intervals over hosts")
    print(f"{'ion':4} {'hosts':>5} {'joint only':>17} {'network only':>17} {'both':>17} {'any candidate':>17} "
          f"{'CHGNet':>7} {'CPU s':>6}")  # fmt: skip
    for ion, each in found.items():
        for name, group in ((ion, each), ("  >1", [row for row in each if row["n_guests"] > 1])):
            summary = summarize_first(group, share)
            report["ions"][ion + ("" if name == ion else ", several guests")] = summary
            if group:
                cells = " ".join(f"{_cell(summary[key]):>17}" for key in ("joint", "network", "top1", "any"))
                cost = f"{summary['evaluations']:7.0f} {summary['cpu_seconds']:6.1f}"
                print(f"{name:4} {len(group):5d} {cells} {cost}")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _cell(value: tuple[float, float, float] | None) -> str:
    return "-" if value is None else f"{100 * value[0]:.0f} % ({100 * value[1]:.0f}-{100 * value[2]:.0f})"


if __name__ == "__main__":
    main()
