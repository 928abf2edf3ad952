"""How many true sites of electrodes the site network holds, by number of guests.

    python benchmarks/site_coverage.py ../shared/data/electrodes_dev.h5 --limit 40 --json coverage.json

A true site, mapped into the host as it relaxed without the ion, is covered when a site of the network is within 0.6 A.
Columns: share of true sites covered by the most symmetric network; hosts with all of them covered; share covered by the
network without symmetry; hosts whose true sites are whole orbits of one of the networks; orbits and sites of the most
symmetric network; samples drawn; hosts with a round that found no new site; seconds.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

GROUPS = ((1, 1), (2, 3), (4, 7), (8, 999))


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", type=int, help="Pairs, chosen by a hash of their ids.")
@click.option("--max-atoms", default=60, show_default=True, help="Largest discharged cell.")
@click.option("--all-pairs", is_flag=True, help="Also pairs that are not recommended.")
@click.option("--within", default=0.6, show_default=True, help="A.")
@click.option("--single", default=8, show_default=True, help="Single-guest samples in a round.")
@click.option("--joint", default=4, show_default=True, help="Joint samples in a round.")
@click.option("--rounds", default=4, show_default=True, help="At most.")
@click.option(
    "--random",
    "at_random",
    is_flag=True,
    help="Random possible positions instead, as many as the most rounds give: a baseline.",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Rows; what it holds is not done again.")
def main(
    packed, limit, max_atoms, all_pairs, within, single, joint, rounds, at_random, seed, weights, json_file
) -> None:
    """Print one line per number of guests: covered sites, sites and orbits per host, samples, seconds."""
    from inpaint_hpc.crystals.packed import hash_order, read_electrodes
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.settings import SamplingSettings
    from inpaint_hpc.sites.pooling import PoolingSettings, pool_positions

    network = load_network(weights)
    pairs = [
        p for p in read_electrodes(packed) if len(p.reference) <= max_atoms and (all_pairs or p.info["recommended"])
    ]
    pairs = hash_order(pairs)
    settings = PoolingSettings(single, joint, min(2, rounds), rounds, sampling=SamplingSettings(seed=seed))
    rows = json.loads(json_file.read_text())["rows"] if json_file and json_file.exists() else []
    known = {row["id"] for row in rows}
    for pair in pairs[:limit]:
        if pair.name in known:
            continue
        started = time.perf_counter()
        if at_random:
            pool = _random(pair, rounds * (single + joint * pair.n_guest), seed)
        else:
            pool = pool_positions(network, pair.host, pair.guest_z, pair.n_guest, settings)
        sampled = time.perf_counter()
        networks = pool.networks()
        rows.append(_row(pair, pool, networks, within, sampled - started, time.perf_counter() - sampled))
        if json_file:
            report = {"packed": Path(packed).name, "weights": network.info.sha256, "within": within, "rows": rows}
            json_file.write_text(json.dumps(report, indent=1) + "\n")
    _print(rows, within, network.info.sha256)


def _row(pair, pool, networks, within, sampling: float, clustering: float) -> dict:
    from inpaint_hpc.sites.clustering import assign_sites

    truth = pair.reference.frac_coords[-pair.n_guest :]
    found = networks[0]
    covered = [assign_sites(n, truth, within)[0] for n in (found, networks[-1])]
    whole = any(_whole_orbits(n, assign_sites(n, truth, within)[0]) for n in networks)
    often = [o for o in found.orbits if round(o.occupancy * found.samples) > 1]
    return {
        "id": pair.name,
        "ion": int(pair.guest_z),
        "guests": pair.n_guest,
        "atoms": len(pair.host),
        "operations": len(found.rotations),
        "covered": float((covered[0] >= 0).mean()),
        "all_covered": bool((covered[0] >= 0).all()),
        "covered_without_symmetry": float((covered[1] >= 0).mean()),
        "whole_orbits": whole,
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


def _random(pair, wanted: int, seed: int):
    """A pool of uniform positions, none of them on a host atom."""
    import numpy as np

    from inpaint_hpc.sampling.contact_distances import invalid_samples
    from inpaint_hpc.sites.pooling import Pool

    rng = np.random.default_rng([seed, len(pair.host)])
    found = np.zeros((0, 1, 3))
    while len(found) < wanted:
        points = rng.uniform(size=(wanted, 1, 3))
        found = np.concatenate([found, points[~invalid_samples(pair.host, [pair.guest_z], points).invalid]])
    return Pool(pair.host, pair.guest_z, {1: found[:wanted]})


def _whole_orbits(network, sites) -> bool:
    """Are the true sites a number of orbits, each of them full?"""
    if min(sites) < 0 or len(set(sites)) < len(sites):
        return False
    orbits = {int(network.orbit_of[s]) for s in sites}
    return sum(network.orbits[o].multiplicity for o in orbits) == len(sites)


# Title: key of a row, factor, digits, unit.
COLUMNS = {
    "covered": ("covered", 100, 1, " %"),
    "all": ("all_covered", 100, 0, " %"),
    "no symm.": ("covered_without_symmetry", 100, 1, " %"),
    "whole orbits": ("whole_orbits", 100, 0, " %"),
    "orbits": ("orbits", 1, 1, ""),
    "sites": ("sites", 1, 1, ""),
    "samples": ("samples", 1, 1, ""),
    "saturated": ("saturated", 100, 0, " %"),
    "s sampling": ("seconds_sampling", 1, 1, ""),
    "s sites": ("seconds_clustering", 1, 2, ""),
}


def _print(rows: list[dict], within: float, weights: str) -> None:
    print(f"{len(rows)} pairs, weights {weights[:12]}, a site is covered within {within} A")
    print(" guests  hosts " + " ".join(f"{title:>12}" for title in COLUMNS))
    for low, high in (*GROUPS, (1, 999)):
        part = [row for row in rows if low <= row["guests"] <= high]
        if not part:
            continue
        label = {(1, 1): "1", (8, 999): "8+", (1, 999): "all"}.get((low, high), f"{low}-{high}")
        cells = []
        for key, factor, digits, unit in COLUMNS.values():
            mean = factor * sum(row[key] for row in part) / len(part)
            cells.append(f"{mean:.{digits}f}{unit}".rjust(12))
        print(f"{label:>7}  {len(part):5d} " + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
