"""How many true sites of electrodes the site network holds, by number of guests.

    python benchmarks/site_coverage.py ../shared/data/electrodes_dev.h5 --limit 40 --json coverage.json

A true site, mapped into the host as it relaxed without the ion, is covered when a site of the network is within 0.6 A.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from pathlib import Path

import click

GROUPS = ((1, 1), (2, 3), (4, 7), (8, 999))


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", type=int, help="Pairs, chosen by a hash of their ids.")
@click.option("--max-atoms", default=60, show_default=True, help="Largest discharged cell.")
@click.option("--all-pairs", is_flag=True, help="Also pairs that are not recommended.")
@click.option("--within", default=0.6, show_default=True, help="A.")
@click.option("--symprec", default=0.1, show_default=True, help="Of the network that is counted, A.")
@click.option("--single", default=8, show_default=True, help="Single-guest samples in a round.")
@click.option("--joint", default=4, show_default=True, help="Joint samples in a round.")
@click.option("--rounds", default=4, show_default=True, help="At most.")
@click.option("--seed", default=0, show_default=True)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Rows; what it holds is not done again.")
def main(packed, limit, max_atoms, all_pairs, within, symprec, single, joint, rounds, seed, weights, json_file) -> None:
    """Print one line per number of guests: covered sites, sites and orbits per host, samples, seconds."""
    from inpaint_hpc.crystals.packed import read_electrodes
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.occupancy.pooling import PoolingSettings, pool_positions
    from inpaint_hpc.sampling.settings import SamplingSettings

    network = load_network(weights)
    pairs = [
        p for p in read_electrodes(packed) if len(p.reference) <= max_atoms and (all_pairs or p.info["recommended"])
    ]
    pairs.sort(key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())
    settings = PoolingSettings(single, joint, min(2, rounds), rounds, symprec, sampling=SamplingSettings(seed=seed))
    rows = json.loads(json_file.read_text())["rows"] if json_file and json_file.exists() else []
    known = {row["id"] for row in rows}
    for pair in pairs[:limit]:
        if pair.name in known:
            continue
        started = time.perf_counter()
        pool = pool_positions(network, pair.host, pair.guest_z, pair.n_guest, settings)
        sampled = time.perf_counter()
        networks = pool.networks(symprecs=[symprec])
        rows.append(_row(pair, pool, networks, within, sampled - started, time.perf_counter() - sampled))
        if json_file:
            report = {"packed": Path(packed).name, "weights": network.info.sha256, "within": within, "rows": rows}
            json_file.write_text(json.dumps(report, indent=1) + "\n")
    _print(rows, within, network.info.sha256)


def _row(pair, pool, networks, within, sampling: float, clustering: float) -> dict:
    from inpaint_hpc.occupancy.clustering import assign_sites

    truth = pair.reference.frac_coords[-pair.n_guest :]
    found = networks[0]
    covered = [assign_sites(n, truth, within)[0] for n in (found, networks[-1])]
    often = [o for o in found.orbits if round(o.occupancy * found.samples) > 1]
    return {
        "id": pair.name,
        "ion": int(pair.guest_z),
        "guests": pair.n_guest,
        "atoms": len(pair.host),
        "operations": len(found.rotations),
        "covered": float((covered[0] >= 0).mean()),
        "covered_without_symmetry": float((covered[1] >= 0).mean()),
        "orbits": len(found.orbits),
        "orbits_seen_twice": len(often),
        "orbits_of_reference": sorted({int(found.orbit_of[s]) for s in covered[0] if s >= 0}),
        "sites": len(found),
        "sites_seen_twice": sum(o.multiplicity for o in often),
        "samples": pool.n_samples,
        "positions": found.samples,
        "rounds": pool.rounds,
        "saturated": pool.saturated,
        "seconds_sampling": sampling,
        "seconds_clustering": clustering,
    }


def _print(rows: list[dict], within: float, weights: str) -> None:
    groups = defaultdict(list)
    for row in rows:
        groups[next(g for g in GROUPS if g[0] <= row["guests"] <= g[1])].append(row)
    print(f"{len(rows)} pairs, weights {weights[:12]}, a site is covered within {within} A")
    print(
        f"{'guests':>7} {'hosts':>5} {'covered':>8} {'all':>6} {'no symm.':>8} {'orbits':>7} {'sites':>6} "
        f"{'samples':>8} {'saturated':>9} {'s sampling':>10} {'s sites':>8}"
    )
    for low, high in [*sorted(groups), (1, 999)]:
        part = groups.get((low, high), rows)
        mean = {key: sum(r[key] for r in part) / len(part) for key in part[0] if isinstance(part[0][key], int | float)}
        whole = sum(r["covered"] == 1.0 for r in part) / len(part)
        label = (
            "all"
            if (low, high) == (1, 999)
            else f"{low}"
            if low == high
            else f"{low}-{high}"
            if high < 99
            else f"{low}+"
        )
        print(
            f"{label:>7} {len(part):5d} {100 * mean['covered']:6.1f} % {100 * whole:4.0f} % "
            f"{100 * mean['covered_without_symmetry']:6.1f} % {mean['orbits']:7.1f} {mean['sites']:6.1f} "
            f"{mean['samples']:8.1f} {100 * mean['saturated']:7.0f} % {mean['seconds_sampling']:10.1f} "
            f"{mean['seconds_clustering']:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
