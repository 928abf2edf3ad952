"""What limits the weights: the records of `match_rate.py --records`, broken down.

python benchmarks/match_rate.py ../shared/data/wbm_dev.h5 --limit 100 --records wbm.jsonl
python benchmarks/failures.py wbm.jsonl --train ../shared/data/mp_train.h5
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument("records", type=click.Path(exists=True, path_type=Path))
@click.option("--train", type=click.Path(exists=True), help="Packed training set, for the distance to its formulas.")
@click.option("--list", "listed", default=20, show_default=True, help="Hosts with the worst match rates to list.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(records, train, listed, json_file) -> None:
    """Print match rates by ion, number of guests, size, chemistry and distance, kinds of failure, and worst hosts."""
    import numpy as np
    from ase.data import chemical_symbols
    from pymatgen.core import Composition

    from inpaint_hpc.benchmark.failures import FAILURES, chemistry
    from inpaint_hpc.benchmark.training_distance import formula_distances
    from inpaint_hpc.crystals.packed import PackedDataset

    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for row in rows:
        atoms = Composition(row["formula"]).get_el_amt_dict()
        row["numbers"] = np.repeat(
            [chemical_symbols.index(symbol) for symbol in atoms], [int(count) for count in atoms.values()]
        )
        row["rate"] = float(np.mean(row["matches"]))
        row["chemistry"] = chemistry(row["numbers"])
    if train:
        distances = formula_distances([row["numbers"] for row in rows], PackedDataset(train, "train"))
        for row, distance in zip(rows, distances, strict=True):
            row["distance"] = _bucket(distance, (0.0, 0.05, 0.1, 0.2))
    groups = {
        "ion": lambda r: chemical_symbols[r["ion"]],
        "guests": lambda r: _bucket(r["n_guests"], (1, 2, 4, 8)),
        "atoms": lambda r: _bucket(r["n_atoms"], (6, 10, 16, 40)),
        "chemistry": lambda r: r["chemistry"],
    }
    if train:
        groups["distance to a training formula"] = lambda r: r["distance"]
    samples = len(rows[0]["matches"])
    report = {"hosts": len(rows), "samples": samples, "groups": {}, "kinds": {}}
    for title, key in groups.items():
        print(f"\n{title:32} {'hosts':>5} {'one sample':>11} {f'any of {samples}':>10}   failed samples by kind")
        table = report["groups"].setdefault(title, {})
        for name in sorted({key(row) for row in rows}):
            members = [row for row in rows if key(row) == name]
            one, some = np.mean([r["rate"] for r in members]), np.mean([any(r["matches"]) for r in members])
            kinds = Counter(kind for r in members for kind in r["failures"] if kind)
            table[name] = {"hosts": len(members), "one": float(one), "any": float(some), "kinds": dict(kinds)}
            shares = ", ".join(f"{kind} {kinds[kind]}" for kind in FAILURES if kinds[kind])
            print(f"{name:32} {len(members):5d} {100 * one:9.1f} % {100 * some:8.1f} %   {shares}")
    kinds = Counter(kind for row in rows for kind in row["failures"] if kind)
    report["kinds"] = {kind: kinds[kind] for kind in FAILURES}
    total = sum(len(row["matches"]) for row in rows)
    print(f"\nof {total} samples: " + ", ".join(f"{kind} {100 * kinds[kind] / total:.1f} %" for kind in FAILURES))
    print(f"\nthe {listed} hosts with the lowest match rates")
    for row in sorted(rows, key=lambda r: (r["rate"], r["id"]))[:listed]:
        why = ", ".join(f"{kind} {n}" for kind, n in Counter(k for k in row["failures"] if k).most_common())
        ion = chemical_symbols[row["ion"]]
        print(f"{row['id']:18} {row['formula']:24} {row['n_guests']:2d} {ion:2} {100 * row['rate']:5.1f} %   {why}")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _bucket(value: float, edges: tuple[float, ...]) -> str:
    """'<= 0.05', named so that the names of one table sort by size."""
    for number, edge in enumerate(edges):
        if value <= edge + 1e-6:
            return f"{number}: at most {edge:g}"
    return f"{len(edges)}: above {edges[-1]:g}"


if __name__ == "__main__":
    main()
