r"""What limits the weights: the samples of a benchmark that are not right, broken down.

    inpaint-hpc benchmark wbm ../shared/data/wbm_dev.h5 --limit 100 --no-score --out wbm \
        --training ../shared/data/mp_train.h5
    python benchmarks/failures.py wbm
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--list", "listed", default=20, show_default=True, help="Hosts with the worst match rates to list.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(folder, listed, json_file) -> None:
    """Print shares by ion, number of guests, size, anion and distance from the training data (where the benchmark has
    it), kinds of failure, and worst hosts."""
    import numpy as np

    from inpaint_hpc.benchmark.failures import FAILURES

    rows = _rows(folder)
    groups = {
        "ion": lambda r: r["task"].ion,
        "guests": lambda r: _bucket(r["task"].n_guests, (1, 2, 4, 8)),
        "atoms": lambda r: _bucket(r["task"].n_atoms + r["task"].n_guests, (6, 10, 16, 40)),
        "anion": lambda r: r["task"].anion,
        "distance from the training data": lambda r: r["task"].training_range,
    }
    report = {"hosts": len(rows), "groups": {}}
    for title, key in groups.items():
        print(f"\n{title:32} {'hosts':>5} {'one sample':>11} {'any':>8}   failed samples by kind")
        table = report["groups"].setdefault(title, {})
        for name in sorted({key(row) for row in rows}):
            members = [row for row in rows if key(row) == name]
            one, some = (float(np.mean([getattr(r["task"], of) for r in members])) for of in ("one_sample", "any"))
            kinds = Counter(kind for r in members for kind in r["failures"])
            table[name] = {"hosts": len(members), "one": one, "any": some, "kinds": dict(kinds)}
            shares = ", ".join(f"{kind} {kinds[kind]}" for kind in FAILURES if kinds[kind])
            print(f"{name:32} {len(members):5d} {100 * one:9.1f} % {100 * some:6.1f} %   {shares}")
    kinds = Counter(kind for row in rows for kind in row["failures"])
    report["kinds"] = {kind: kinds[kind] for kind in FAILURES}
    total = sum(row["task"].drawn for row in rows)
    print(f"\nof {total} samples: " + ", ".join(f"{kind} {100 * kinds[kind] / total:.1f} %" for kind in FAILURES))
    print(f"\nthe {listed} hosts with the lowest match rates")
    for row in sorted(rows, key=lambda r: (r["task"].one_sample, r["task"].host))[:listed]:
        task = row["task"]
        why = ", ".join(f"{kind} {n}" for kind, n in Counter(row["failures"]).most_common())
        print(f"{task.host:18} {task.formula:24} {task.guests:4} {100 * task.one_sample:5.1f} %   {why}")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _rows(folder: Path) -> list[dict]:
    """Scores of the benchmark's tasks, each with the kinds of failure of its samples that are not right."""
    import numpy as np

    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.failures import kind_of_failure
    from inpaint_hpc.benchmark.score import placed, score_record
    from inpaint_hpc.benchmark.sources import find_source

    source, rows = find_source(folder), []
    with Archive(source.archive) as archive:
        for record in archive.iter_records():
            task = score_record(record, stol=source.stol)
            if task is None or (source.wanted is not None and task.host not in source.wanted.get(task.ion, ())):
                continue
            drawn, guests = placed(record, stol=source.stol)[0], np.array(record.guests)
            failures = [
                kind_of_failure(record.host, guests, record.reference_frac_coords, sample)
                for sample, right in zip(record.samples["guest_frac_coords"], drawn.right, strict=True)
                if not right
            ]
            rows.append({"task": task, "failures": failures})
    tasks = source.with_kept_distances([row["task"] for row in rows])
    return [{**row, "task": task} for row, task in zip(rows, tasks, strict=True)]


def _bucket(value: float, edges: tuple[float, ...]) -> str:
    """'<= 0.05', named so that the names of one table sort by size."""
    for number, edge in enumerate(edges):
        if value <= edge + 1e-6:
            return f"{number}: at most {edge:g}"
    return f"{len(edges)}: above {edges[-1]:g}"


if __name__ == "__main__":
    main()
