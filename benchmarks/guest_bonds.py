"""How far from its neighbours does a guest of a real crystal sit?  Chooses `REACH` of `sampling/contact_distances.py`.

    python benchmarks/guest_bonds.py mp_train.h5 --split train [--limit 20000] [--json FILE]
    python benchmarks/guest_bonds.py wbm_dev.h5
    python benchmarks/guest_bonds.py electrodes_dev.h5

Each element of a crystal in turn is the guest and the rest the host; in an electrode file the true guests are put in
the host that was relaxed without them.  The number of a site is the smallest limit, in units of the sum of covalent
radii or as a margin in A above it, with which a chain of bonds leads from it to the host, through guests if need be.
"""

from __future__ import annotations

import json
import sys

import click
import numpy as np

from inpaint_hpc.crystals.packed import PackedDataset, read_electrodes
from inpaint_hpc.sampling.contact_distances import CONTACT, contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell

IONS = (3, 11, 12, 13, 19, 20, 30, 37, 38, 55, 56)
FACTORS = (1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0)
MARGINS = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0)  # A


def least_limit(strain: np.ndarray, guest: np.ndarray) -> np.ndarray:
    """The smallest limit that connects each guest with the host; `strain` (n, n) of all pairs, `guest` bool (n,)."""
    to_host = strain[np.ix_(guest, ~guest)].min(axis=1)
    among = strain[np.ix_(guest, guest)]
    while True:
        through = np.minimum(to_host, np.maximum(among, to_host[None]).min(axis=1))
        if (through == to_host).all():
            return to_host
        to_host = through


def of_sites(crystal, guests) -> list[tuple[int, float, float]]:
    """(atomic number, factor, margin) of every site of the given guests, one bool (n,) after the other."""
    distances = PeriodicCell(crystal.lattice).distances(crystal.frac_coords, crystal.frac_coords)
    radii = contact_radii(crystal.numbers) / CONTACT
    sums = radii[:, None] + radii[None]
    found = []
    for guest in guests:
        factor, margin = least_limit(distances / sums, guest), least_limit(distances - sums, guest)
        found += zip(crystal.numbers[guest].tolist(), factor.tolist(), margin.tolist(), strict=True)
    return found


def cases(path: str, split: str | None, limit: int | None):
    """Crystals and which of their atoms are guests."""
    if "electrodes" in path:
        for pair in read_electrodes(path):
            n = len(pair.host)
            host_and_guests = pair.host.with_guests(pair.reference.numbers[n:], pair.reference.frac_coords[n:])
            yield host_and_guests, [np.arange(len(host_and_guests)) >= n]
        return
    dataset = PackedDataset(path, split)
    rows = np.arange(len(dataset))
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    for row in rows:
        crystal = dataset[int(row)]
        elements = np.unique(crystal.numbers)
        yield crystal, [crystal.numbers == z for z in elements if len(elements) > 1]


def summary(sites: np.ndarray) -> dict:
    """Shares in % of sites beyond each limit; the 99.9 % quantile of every ion."""
    return {
        "sites": len(sites),
        "beyond_factor_percent": {f"{f:.1f}": float((sites[:, 1] > f).mean() * 100) for f in FACTORS},
        "beyond_margin_percent": {f"{m:.1f}": float((sites[:, 2] > m).mean() * 100) for m in MARGINS},
    }


@click.command()
@click.argument("packed")
@click.option("--split", type=click.Choice(["train", "val"]), help="Only this part of the file.")
@click.option("--limit", type=int, help="A random part of this many crystals; all by default.")
@click.option("--json", "json_path", type=click.Path(), help="Also write the numbers here.")
def main(packed: str, split: str | None, limit: int | None, json_path: str | None) -> None:
    found, crystals = [], 0
    for crystal, guests in cases(packed, split, limit):
        crystals += 1
        found += of_sites(crystal, guests)
        if crystals % 5000 == 0:
            click.echo(f"{crystals} crystals", err=True)
    sites = np.array(found)
    ions = sites[np.isin(sites[:, 0], IONS)]
    result = {"crystals": crystals, "every element": summary(sites), "the eleven ions": summary(ions)}
    result["by ion"] = {int(z): summary(ions[ions[:, 0] == z]) for z in np.unique(ions[:, 0])}
    json.dump(result, sys.stdout, indent=1)
    if json_path:
        with open(json_path, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
