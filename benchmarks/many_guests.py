"""Several guests in empty electrode hosts: any of at most 32 candidates right, the first one right, and LES.

python benchmarks/many_guests.py electrodes_dev.h5 --limit 100 --les 60 --rows rows.jsonl --json table.json

Hosts come in the order of the sha256 of their ids, so that `--limit N` is a fair choice and the same everywhere.  Every
host's row is written to `--rows` at once, and hosts that are in it already, done the same way, are not run again: rows
of several parts written to one file, one process each, are one table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


def _part(context, parameter, value: str) -> slice:
    """The hosts of a part K/N."""
    first, bar, count = value.partition("/")
    if not (bar and first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise click.BadParameter(f"'{value}' is not K/N with 0 <= K < N, such as 0/2")
    return slice(int(first), None, int(count))


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", type=int, help="First so many hosts.")
@click.option("--les", "n_les", default=0, show_default=True, help="Relax the first so many hosts fully, for LES.")
@click.option(
    "--part", default="0/1", metavar="K/N", callback=_part, help="Every N-th host, from K on.  [default: 0/1]"
)
@click.option("--max-atoms", default=60, show_default=True, help="Of the filled host.")
@click.option("--min-guests", default=1, show_default=True, help="Leave out hosts with fewer.")
@click.option("--seed", default=0, show_default=True)
@click.option("--all-pairs", is_flag=True, help="Also pairs that are not recommended.")
@click.option("--samples", default=16, show_default=True, help="Joint samples.")
@click.option("--evaluations", default=48, show_default=True, help="CHGNet energies of orderings of each host.")
@click.option("--weights", default=None, help="Packaged set or .safetensors file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another setting, e.g. steps=10.")
@click.option("--rows", type=click.Path(path_type=Path), help="JSON lines, one per host.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the table as JSON.")
@click.option("--minutes", type=float, help="Start no new host after so long.")
@click.option("--threads", default=1, show_default=True)
def main(
    packed, limit, n_les, part, max_atoms, min_guests, seed, all_pairs, samples, evaluations, weights, settings, rows,
    json_file, minutes, threads,
):  # fmt: skip
    """Print the table by number of guests."""
    import time

    import torch
    import yaml

    from inpaint_hpc.benchmark.many_guests import hand_out, lowest_state
    from inpaint_hpc.crystals.packed import hash_order, read_electrodes
    from inpaint_hpc.network.weights import load_network

    torch.set_num_threads(threads)
    pairs = [p for p in read_electrodes(packed) if len(p.reference) <= max_atoms and p.n_guest >= min_guests]
    pairs = hash_order([p for p in pairs if all_pairs or p.info["recommended"] == 1])
    network = load_network(weights)
    changed = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in settings)}
    how = {"weights": network.info.sha256, "samples": samples, "evaluations": evaluations, "seed": seed, **changed}
    known = {}
    if rows is not None and rows.exists():
        written = map(json.loads, rows.read_text().splitlines())
        known = {row["id"]: row for row in written if row.get("how") == how}
    chosen = pairs[: max(limit or len(pairs), n_les)]
    finished = []
    begin = time.perf_counter()
    for k, pair in list(enumerate(chosen))[part]:
        row = known.get(pair.name)
        if row is None or (k < n_les and "les" not in row):
            if minutes is not None and time.perf_counter() - begin > 60 * minutes:
                continue
            row = hand_out(network, pair, samples, seed, evaluations=evaluations, **changed)
            if k < n_les:
                row["les"] = lowest_state(pair, row, seed)
            del row["result"]
            row["how"] = how
            if rows is not None:
                with rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            print(f"{k + 1}/{len(chosen)} {pair.name} {pair.n_guest} guests, {row['seconds']:.0f} s", file=sys.stderr)
        finished.append(row)
    show(finished, len(pairs), network.info.sha256, json_file)


def show(rows: list[dict], available: int, weights: str, json_file: Path | None) -> None:
    """Print the tables and write them as JSON."""
    from inpaint_hpc.benchmark.many_guests import summary

    table = summary(rows)
    print(f"{len(rows)} of {available} hosts by hash of the id; StructureMatcher(0.3, 0.3); 95 % Wilson intervals")
    print(f"{'guests':6} {'hosts':>5} {'any joint':>17} {'any network':>17} {'any of <= 32':>17} "
          f"{'top-1 joint':>17} {'top-1 static':>17} {'CHGNet':>7} {'CPU s':>6}")  # fmt: skip
    for name, entry in table.items():
        cells = " ".join(f"{_cell(entry[k]):>17}" for k in ("joint_any", "network_any", "any", "joint_top1", "top1"))
        if entry["hosts"]:
            cost = f"{entry['evaluations']:7.0f} {entry['cpu_seconds']:6.1f}"
            print(f"{name:6} {entry['hosts']:5d} {cells} {cost}")
    if table["all"]["les_hosts"]:
        print("\nRanking in stages and LES (the last matches, or lies at most 5 meV/atom above the reference)")
        print(f"{'guests':6} {'hosts':>5} {'static':>15} {'short':>15} {'full':>15} {'LES':>15} {'joint LES':>15} "
              f"{'random LES':>15}")  # fmt: skip
        for name, entry in table.items():
            keys = ("tool_static", "tool_short", "tool_full", "tool_les", "joint_les", "random_les")
            if entry["les_hosts"]:
                print(f"{name:6} {entry['les_hosts']:5d} " + " ".join(f"{_cell(entry[k]):>15}" for k in keys))
    if json_file:
        json_file.write_text(json.dumps({"weights": weights, "available": available, "table": table}, indent=2) + "\n")


def _cell(value: tuple[float, float, float] | None) -> str:
    return "-" if value is None else f"{100 * value[0]:.0f} % ({100 * value[1]:.0f}-{100 * value[2]:.0f})"


if __name__ == "__main__":
    main()
