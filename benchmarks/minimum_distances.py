"""How many real crystals would the distance rule of `sampling/contact_distances.py` call impossible?

    python benchmarks/minimum_distances.py mp_train.h5 [--limit 20000] [--json FILE]

Every atom of a crystal is taken as a guest among the others, so this bounds the share of true placements that the rule
would throw away.
"""

from __future__ import annotations

import json
import sys

import click
import numpy as np

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.sampling.contact_distances import CONTACT, PACKING, contact_radii, packing_fraction
from inpaint_hpc.sampling.minimum_image import PeriodicCell

FACTORS = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75)


def smallest_ratio(crystal) -> float:
    """Smallest distance over the sum of covalent radii in one crystal."""
    cell = PeriodicCell(crystal.lattice)
    distances = cell.distances(crystal.frac_coords, crystal.frac_coords)
    np.fill_diagonal(distances, cell.shortest)
    radii = contact_radii(crystal.numbers) / CONTACT
    return float((distances / (radii[:, None] + radii[None])).min())


@click.command()
@click.argument("packed")
@click.option("--limit", type=int, help="A random part of this many crystals; all by default.")
@click.option("--json", "json_path", type=click.Path(), help="Also write the numbers here.")
def main(packed: str, limit: int | None, json_path: str | None) -> None:
    dataset = PackedDataset(packed)
    rows = np.arange(len(dataset))
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    ratios, packings = np.empty(len(rows)), np.empty(len(rows))
    with click.progressbar(rows, file=sys.stderr, label="crystals") as bar:
        for k, row in enumerate(bar):
            crystal = dataset[int(row)]
            ratios[k] = smallest_ratio(crystal)
            packings[k] = packing_fraction(crystal.numbers, crystal.volume)
    result = {
        "crystals": len(rows),
        "impossible_percent": {f"{f:.2f}": float((ratios < f).mean() * 100) for f in FACTORS},
        "smallest_ratio": float(ratios.min()),
        "largest_packing": float(packings.max()),
        "overfull_percent": float((packings > PACKING).mean() * 100),
    }
    click.echo(f"{len(rows)} crystals of {packed}")
    for factor, percent in result["impossible_percent"].items():
        mark = "  <- the rule" if abs(float(factor) - CONTACT) < 1e-9 else ""
        click.echo(f"closer than {factor} x sum of covalent radii: {percent:6.3f} %{mark}")
    click.echo(f"largest packing fraction {packings.max():.3f}, above {PACKING}: {result['overfull_percent']:.3f} %")
    if json_path:
        with open(json_path, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
