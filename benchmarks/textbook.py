"""Ions in hosts whose sites every textbook names: is the known one first, and where are the other candidates?

    python benchmarks/textbook.py cases/textbook [--only Ti3C2O2_slab] [--json FILE]
    python benchmarks/textbook.py cases/textbook --sites

The folder has one CIF for each host and `known_sites.json`: host -> `sites` (name -> fractional coordinates) and `jobs`
("Li=2" -> {"tet 8a": 2}: two guests on that site; "a|b": on either).  Everything else is as without any option.

With --sites: is there a lower place than the first candidate, with guests relaxed in the frozen host?  One ion of each
element in these hosts, Li and Mg in the MnO2 examples; `inpaint --relax guests` against `sites`.
"""

from __future__ import annotations

import json
import re
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


def lower_sites(network, folder: Path, known: dict) -> None:
    """Print for each host how far below the first candidate the lowest site lies, meV."""
    from inpaint_hpc.sites.find_sites import find_sites

    examples = Path(__file__).resolve().parent.parent / "inpaint_hpc" / "examples" / "mno2"
    jobs = [(path, ion) for path in sorted(examples.glob("*.cif")) for ion in ("Li", "Mg")]
    for name, one in known.items():
        jobs += [(folder / f"{name}.cif", ion) for ion in sorted({re.split("[= ]", job)[0] for job in one["jobs"]})]
    gaps = []
    for path, ion in jobs:
        (host,) = read_hosts([path])
        candidates = inpaint(network, host, {ion: 1}, relax="guests").candidates
        energies = [orbit.energy for orbit in find_sites(network, host, ion).orbits]
        if not candidates or not np.isfinite(energies).any():
            click.echo(f"{path.stem:20} {ion:2} without a place")
            continue
        gaps.append(1000 * (candidates[0].ranking_energy * (len(host) + 1) - np.nanmin(energies)))
        click.echo(f"{path.stem:20} {ion:2} lowest site {gaps[-1]:6.1f} meV below the first candidate")
    click.echo(f"{sum(gap > 5 for gap in gaps)} of {len(gaps)} by more than 5 meV, at most {max(gaps):.1f}")


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--only", multiple=True, help="Names of hosts; all by default.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
@click.option("--sites", is_flag=True, help="Compare first candidates with the lowest sites instead.")
def main(folder: Path, only: tuple[str, ...], json_path: Path | None, sites: bool) -> None:
    network, found = load_network(), []
    everything = json.loads((folder / "known_sites.json").read_text())
    if sites:
        lower_sites(network, folder, everything)
        return
    for name, known in everything.items():
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
