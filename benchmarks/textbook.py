"""Ions in hosts whose sites every textbook names: is the known one first, and where are the other candidates?

    python benchmarks/textbook.py cases/textbook [--only Ti3C2O2_slab] [--json FILE]

The folder has one CIF for each host and `known_sites.json`: host -> `sites` (name -> fractional coordinates) and `jobs`
("Li=2" -> {"tet 8a": 2}: two guests on that site; "a|b": on either).  Everything else is as without any option.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.sampling.minimum_image import PeriodicCell

NEAR = 0.8  # A between a guest and the site that it is on; on unrelaxed slabs guests sit up to 0.7 A higher


def on_known_sites(host, candidate, sites: dict, wanted: dict) -> bool:
    """Whether the guests are on the sites wanted, each on one of its own."""
    cell, taken = PeriodicCell(host.lattice), 0
    for names, count in wanted.items():
        places = np.concatenate([np.array(sites[name]) for name in names.split("|")])
        distances = cell.distances(candidate.guest_frac_coords, places)
        on = distances.min(axis=1) <= NEAR
        if len(set(distances[on].argmin(axis=1).tolist())) < count:
            return False
        taken += count
    return taken == len(candidate.guest_frac_coords)


def run(network, host, job: str, known: dict) -> dict:
    guests = {element: int(count) for element, count in (part.split("=") for part in job.split())}
    result = inpaint(network, host, guests)
    right = [on_known_sites(host, c, known["sites"], known["jobs"][job]) for c in result.candidates]
    cell = PeriodicCell(host.lattice)
    nearest = [cell.distances(c.guest_frac_coords, host.frac_coords).min(axis=1).max() for c in result.candidates]
    return {
        "host": host.name,
        "guests": job,
        "rank": right.index(True) if any(right) else None,
        "candidates": len(right),
        "farthest_A": float(max(nearest, default=np.nan)),
        "n_drawn": result.n_drawn,
        "confidence": result.confidence,
        "reasons": dict(result.reasons),
        "notes": list(result.notes),
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--only", multiple=True, help="Names of hosts; all by default.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(folder: Path, only: tuple[str, ...], json_path: Path | None) -> None:
    network, found = load_network(), []
    for name, known in json.loads((folder / "known_sites.json").read_text()).items():
        if only and name not in only:
            continue
        (host,) = read_hosts([folder / f"{name}.cif"])
        for job in known["jobs"]:
            one = run(network, host, job, known)
            found.append(one)
            place = "not found" if one["rank"] is None else f"rank {one['rank']}"
            confidence = "-" if one["confidence"] is None else f"{one['confidence']:.2f}"
            click.echo(
                f"{name:20} {job:6} {place:9} of {one['candidates']:2}, farthest {one['farthest_A']:.2f} A, "
                f"{one['n_drawn']} drawn, confidence {confidence}"
            )
            for note in one["notes"]:
                click.echo(f"    {note}")
            if json_path:
                json_path.write_text(json.dumps(found, indent=2))
    first = sum(one["rank"] == 0 for one in found)
    click.echo(
        f"the known site is first in {first} of {len(found)}, farthest {max(o['farthest_A'] for o in found):.2f} A"
    )


if __name__ == "__main__":
    main()
