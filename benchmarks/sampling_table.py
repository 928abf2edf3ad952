"""Match rate against network evaluations, for samplers and strategies on the same weights and hosts.

    python benchmarks/sampling_table.py ../shared/data/wbm_dev.h5 --limit 30 --plot sampling.png

Every row spends the same number of network evaluations per sample; `replacement` and `repaint` use the network without
a host and overwrite the known atoms, as the paper does.

    python benchmarks/sampling_table.py ../shared/data/electrodes_dev.h5 --pairs --limit 60 --ways ancestral,dpm-solver
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
@click.option("--limit", default=30, show_default=True, help="Random hosts per ion, or electrode pairs.")
@click.option("--skip", type=int, help="Hosts by hash of their ids instead, without the first so many of each ion.")
@click.option("--pairs", is_flag=True, help="The file holds electrode pairs: recommended ones, by hash of their ids.")
@click.option("--max-atoms", default=None, type=int, help="Of the full crystal.  [default: 20, of pairs 60]")
@click.option("--samples", default=4, show_default=True)
@click.option("--nfe", "budgets", default="5,10,20,40,80", show_default=True)
@click.option("--ways", default=None, help="Samplers, each with :STRATEGY if not conditional.  [default: five]")
@click.option("--schedule", default=None, help="Default: the tool's; so with the next two.")
@click.option("--sigma-max", type=float, default=None)
@click.option("--sigma-min", type=float, default=None)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="PNG of the table.")
def main(
    packed, ions, limit, skip, pairs, max_atoms, samples, budgets, ways, weights, json_file, plot, **levels
) -> None:
    """Print one row per sampler, strategy and budget: chance that one sample matches, any of the first 4 and of all,
    the placement that most samples agree on, seconds."""
    from inpaint_hpc.benchmark.reconstruction import summarize
    from inpaint_hpc.errors import InputError
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.sample import SamplingSettings

    network = load_network(weights)
    run = _pairs(packed, limit, skip, max_atoms) if pairs else _hosts(packed, ions, limit, skip, max_atoms)
    ways = [(*way.split(":"), "conditional")[:2] for way in ways.split(",")] if ways else WAYS
    levels = {key: value for key, value in levels.items() if value is not None}
    rows = []
    some = sorted({min(4, samples), samples})
    heads = [f"{f'any of {count}':>9}" for count in some]
    print(f"{'sampler':20} {'strategy':12} {'NFE':>4} {'one sample':>20}", *heads, " agreed RMSD (A)  s/sample")
    for sampler, strategy in ways:
        for budget in (int(b) for b in budgets.split(",")):
            try:
                settings = SamplingSettings(samples=samples, steps=budget, sampler=sampler, strategy=strategy, **levels)
            except InputError:
                continue  # too few evaluations for a jump of repaint
            started = time.perf_counter()
            results = run(network, settings)
            seconds = (time.perf_counter() - started) / (len(results) * samples)
            row = {"sampler": sampler, "strategy": strategy, "nfe": settings.nfe, "seconds_per_sample": seconds}
            row |= summarize(results)
            row["any_of"] = {n: sum(bool(r.matches[:n].any()) for r in results) / len(results) for n in some}
            row["one_of_each"] = [float(r.matches.mean()) for r in results]  # of each host, to compare rows in pairs
            row["agreed"] = sum(bool(r.matches[r.clusters[0][0]]) for r in results) / len(results)
            rows.append(row)
            one = f"{100 * row['one']:.1f} % ({100 * row['one_low']:.0f}-{100 * row['one_high']:.0f})"
            shares = [f"{100 * share:.1f} %" for share in row["any_of"].values()]
            rmsd = "-" if row["rmsd"] is None else f"{row['rmsd']:.3f}"
            agreed = f"{100 * row['agreed']:.1f} %"
            cells = [f"{share:>9}" for share in shares] + [f"{agreed:>7}", f"{rmsd:>8}"]
            print(f"{sampler:20} {strategy:12} {settings.nfe:4d} {one:>20}", *cells, f"{seconds:9.3f}", flush=True)
    if json_file:
        report = {"packed": Path(packed).name, "weights": network.info.sha256, "levels": levels, "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if plot:
        _draw(rows, ways, plot)


def _hosts(packed, ions: str, limit: int, skip: int | None, max_atoms: int | None):
    """(network, settings) -> results of crystals with an ion taken out."""
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.reconstruction import choose_references, reconstruct
    from inpaint_hpc.crystals.packed import hash_order

    chosen = {}
    for z in (atomic_numbers[ion] for ion in ions.split(",")):
        if skip is None:
            chosen[z] = choose_references(packed, z, limit, max_atoms or 20)
        else:
            chosen[z] = hash_order(choose_references(packed, z, None, max_atoms or 20))[skip : skip + limit]
    print(f"{ions}, {limit} hosts each; StructureMatcher(ltol=0.2, stol=0.2).fit")
    return lambda network, settings: [r for z, refs in chosen.items() for r in reconstruct(network, refs, z, settings)]


def _pairs(packed, limit: int, skip: int | None, max_atoms: int | None):
    """(network, settings) -> results of electrode pairs."""
    from inpaint_hpc.benchmark.reconstruction import intercalate
    from inpaint_hpc.crystals.packed import hash_order, read_electrodes

    known = [p for p in read_electrodes(packed) if p.info["recommended"] and len(p.reference) <= (max_atoms or 60)]
    chosen = hash_order(known)[skip or 0 : (skip or 0) + limit]
    print(f"{len(chosen)} electrode pairs; StructureMatcher(ltol=0.3, stol=0.3).fit")
    return lambda network, settings: intercalate(network, chosen, settings)


def _draw(rows: list[dict], ways: list[tuple[str, str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for sampler, strategy in ways:
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
