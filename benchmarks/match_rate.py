"""Match rate of the shipped weights: all atoms of an ion out of a packed crystal, sampled back, matched.

    python benchmarks/match_rate.py ../shared/data/wbm_dev.h5 --limit 100 --records wbm.jsonl

`benchmarks/failures.py` says more about the records.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--ions", default="Li,Na,Mg,Ca,K,Zn,Al", show_default=True)
@click.option("--limit", default=100, show_default=True, help="Random hosts per ion; 0 takes all.")
@click.option("--max-atoms", default=40, show_default=True)
@click.option("--samples", default=16, show_default=True)
@click.option("--steps", default=40, show_default=True, help="Network evaluations per sample.")
@click.option("--sampler", default=None, help="Default: the tool's.")
@click.option("--strategy", default=None, help="Default: the tool's.")
@click.option("--schedule", default=None, help="Default: the tool's.")
@click.option("--noise", type=float, default=None, help="Factor on the sampler's noise; default: the tool's.")
@click.option("--sigma-max", type=float, default=None)
@click.option("--weights", default=None, help="Packaged set or .safetensors file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--records", type=click.Path(path_type=Path), help="Also write one JSON line per host.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the table as JSON.")
def main(packed, ions, limit, max_atoms, samples, steps, weights, device, seed, records, json_file, **sampling) -> None:
    """Print one row per ion: hosts, chance that one sample matches, share of hosts where any of the samples does."""
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.reconstruction import by_guests, choose_references, reconstruct
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.sample import SamplingSettings

    network = load_network(weights, device)
    chosen = {key: value for key, value in sampling.items() if value is not None}
    settings = SamplingSettings(samples=samples, steps=steps, seed=seed, **chosen)
    report = {
        "packed": Path(packed).name,
        "weights": network.info.sha256,
        "nfe": settings.nfe,
        "samples": samples,
        "sampler": settings.sampler,
        "strategy": settings.strategy,
        "ions": {},
    }
    print(f"StructureMatcher(ltol=0.2, stol=0.2).fit; {settings.nfe} NFE; 95 % bootstrap intervals over hosts")
    print(f"{'ion':4} {'guests':15} {'hosts':>5}  {'one sample':>20}  {f'any of {samples}':>20}  {'RMSD (A)':>8}")
    if records:
        records.write_text("")
    for ion in ions.split(","):
        number = atomic_numbers[ion]
        references = choose_references(packed, number, limit or None, max_atoms, seed)
        started = time.perf_counter()
        results = reconstruct(network, references, number, settings)
        if records:
            with records.open("a") as file:
                file.writelines(json.dumps(result.row()) + "\n" for result in results)
        table = by_guests(results)
        table["seconds"] = time.perf_counter() - started
        report["ions"][ion] = table
        for name in ("all", "one guest", "several guests"):
            row = table[name]
            rmsd = "-" if row["rmsd"] is None else f"{row['rmsd']:.3f}"
            cells = f"{_cell(row, 'one'):>20}  {_cell(row, 'any'):>20}  {rmsd:>8}"
            print(f"{ion:4} {name:15} {row['hosts']:5d}  {cells}", flush=True)
        print(f"{'':4} {table['seconds']:.0f} s", file=sys.stderr)
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _cell(row: dict, name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{100 * row[name]:.1f} % ({100 * row[name + '_low']:.0f}-{100 * row[name + '_high']:.0f})"


if __name__ == "__main__":
    main()
