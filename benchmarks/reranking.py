"""Top-1 of 16 samples by CHGNet, as placed and after relaxation, against a random one of the 16.

python benchmarks/reranking.py ../shared/data/wbm_dev.h5 --ions Li,Na,Mg,Ca --limit 30 [--quick] [--json FILE]

Each finished host is a line of the rows file, if there is one, and a second run goes on where the first one stopped.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import os
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import click

TITLES = {
    "random": "a random one",
    "agreement": "most agree",
    "static": "CHGNet, as placed",
    "relaxed": "CHGNet, relaxed",
    "any": "any of them",
}


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--ions", default="Li,Na,Mg,Ca", show_default=True)
@click.option("--limit", default=30, show_default=True, help="Random hosts per ion.")
@click.option("--max-atoms", default=20, show_default=True)
@click.option("--samples", default=16, show_default=True)
@click.option("--relax", type=click.Choice(["guests", "positions", "cell"]), default="guests", show_default=True)
@click.option("--top-k", type=int, help="Relax only so many placements; default: all.")
@click.option("--fmax", default=0.05, show_default=True, help="eV/A")
@click.option("--weights", default=None, help="Packaged set or .safetensors file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--minutes", type=float, help="Start no host after so many minutes of processor time.")
@click.option("--rows", "rows_file", type=click.Path(path_type=Path), help="Append each host to this file.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the table as JSON.")
@click.option("--quick", is_flag=True, help="Two small hosts per ion, four samples: does it run?")
def main(
    packed,
    ions,
    limit,
    max_atoms,
    samples,
    relax,
    top_k,
    fmax,
    weights,
    device,
    seed,
    minutes,
    rows_file,
    json_file,
    quick,
) -> None:
    """Print for each ion how often each choice of one sample matches, with 95 % bootstrap intervals over hosts."""
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.reconstruction import choose_references
    from inpaint_hpc.benchmark.reranking import WAYS, gain, rerank, share
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.settings import PipelineSettings
    from inpaint_hpc.sampling.settings import SamplingSettings

    if quick:
        limit, max_atoms, samples, fmax = 2, 8, 4, 0.2
    network = load_network(weights, device)
    sampling = SamplingSettings(samples=samples, seed=seed)
    pipeline = PipelineSettings(relax=relax, top_k=top_k, fmax=fmax)
    settings = {"samples": samples, "relax": relax, "top_k": top_k, "fmax": fmax, "seed": seed, "max_atoms": max_atoms}
    settings["weights"] = network.info.sha256[:12]
    done = _read(rows_file, settings)
    references = {
        ion: choose_references(packed, atomic_numbers[ion], limit, max_atoms, seed) for ion in ions.split(",")
    }
    rows: dict[str, list[dict]] = {ion: [] for ion in references}
    started = time.process_time()
    # The ions by turns, so that a run that is stopped has about as many hosts of each.
    for k in range(max(map(len, references.values()))):
        for ion, chosen in references.items():
            if k >= len(chosen):
                continue
            row = done.get((ion, chosen[k].name))
            if row is None:
                if minutes is not None and time.process_time() - started > 60 * minutes:
                    continue
                row = rerank(network, chosen[k], atomic_numbers[ion], sampling, pipeline, device)
                row |= {"ion": ion, "settings": settings}
                if rows_file:
                    with rows_file.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
            rows[ion].append(row)
    report = {"settings": settings, "rows": rows, "table": {}}
    print(f"match of one of {samples} samples in %, 95 % bootstrap intervals over hosts of at most {max_atoms} atoms")
    print(f"{'ion':4} {'hosts':>5}  " + "  ".join(f"{TITLES[way]:>18}" for way in WAYS) + f"  {'relaxed - random':>20}")
    for ion, group in [*rows.items(), ("all", [row for chosen in rows.values() for row in chosen])]:
        table = {way: share(group, way) for way in WAYS} | {"gain": gain(group, "relaxed", "random")}
        table["over_static"] = gain(group, "relaxed", "static")
        report["table"][ion] = table
        cells = "  ".join(f"{_cell(table[way]):>18}" for way in WAYS)
        print(f"{ion:4} {len(group):5}  {cells}  {_cell(table['gain'], '+'):>20}")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _read(path: Path | None, settings: dict) -> dict[tuple[str, str], dict]:
    """Rows of an earlier run with the same settings."""
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {(row["ion"], row["name"]): row for row in rows if row["settings"] == settings}


def _cell(interval: tuple[float, ...], sign: str = "") -> str:
    mean, low, high = (100 * value for value in interval)
    return f"{mean:{sign}.1f} ({low:{sign}.0f} to {high:{sign}.0f})"


if __name__ == "__main__":
    main()
