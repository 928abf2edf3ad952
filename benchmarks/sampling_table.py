"""Match rate against network evaluations, for samplers and strategies on the same weights and hosts.

    python benchmarks/sampling_table.py ../shared/data/wbm_dev.h5 --limit 30 --plot sampling.png

Every row spends the same number of network evaluations per sample; `replacement` and `repaint` use the network without
a host and overwrite the known atoms, as the paper does.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

WAYS = [
    ("ancestral", "conditional"),
    ("predictor-corrector", "conditional"),
    ("heun", "conditional"),
    ("ancestral", "replacement"),
    ("ancestral", "repaint"),
]


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--ions", default="Li,Mg", show_default=True)
@click.option("--limit", default=30, show_default=True, help="Random hosts per ion.")
@click.option("--max-atoms", default=20, show_default=True)
@click.option("--samples", default=4, show_default=True)
@click.option("--nfe", "budgets", default="5,10,20,40,80", show_default=True)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="PNG of the table.")
def main(packed, ions, limit, max_atoms, samples, budgets, weights, json_file, plot) -> None:
    """Print one row per sampler, strategy and budget: chance that one sample matches, any of them, seconds."""
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.reconstruction import choose_references, reconstruct, summarize
    from inpaint_hpc.errors import InputError
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.sample import SamplingSettings

    network = load_network(weights)
    chosen = {
        z: choose_references(packed, z, limit, max_atoms) for z in (atomic_numbers[ion] for ion in ions.split(","))
    }
    rows = []
    print(f"{ions}, {limit} hosts each; StructureMatcher(ltol=0.2, stol=0.2).fit")
    print(f"{'sampler':20} {'strategy':12} {'NFE':>4} {'one sample':>20} {f'any of {samples}':>10} {'s/sample':>9}")
    for sampler, strategy in WAYS:
        for budget in (int(b) for b in budgets.split(",")):
            try:
                settings = SamplingSettings(samples=samples, steps=budget, sampler=sampler, strategy=strategy)
            except InputError:
                continue  # too few evaluations for a jump of repaint
            started = time.perf_counter()
            results = [r for z, refs in chosen.items() for r in reconstruct(network, refs, z, settings)]
            seconds = (time.perf_counter() - started) / (len(results) * samples)
            row = {"sampler": sampler, "strategy": strategy, "nfe": settings.nfe, "seconds_per_sample": seconds}
            row |= summarize(results)
            rows.append(row)
            one = f"{100 * row['one']:.1f} % ({100 * row['one_low']:.0f}-{100 * row['one_high']:.0f})"
            some = f"{100 * row['any']:.1f} %"
            print(f"{sampler:20} {strategy:12} {settings.nfe:4d} {one:>20} {some:>10} {seconds:9.3f}", flush=True)
    if json_file:
        report = {"packed": Path(packed).name, "weights": network.info.sha256, "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if plot:
        _draw(rows, plot)


def _draw(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for sampler, strategy in WAYS:
        points = [(r["nfe"], 100 * r["one"]) for r in rows if (r["sampler"], r["strategy"]) == (sampler, strategy)]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{sampler}, {strategy}")
    axes.set(xscale="log", xlabel="network evaluations per sample", ylabel="one sample matches (%)", ylim=(0, 100))
    axes.set_xticks([5, 10, 20, 40, 80], ["5", "10", "20", "40", "80"])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
