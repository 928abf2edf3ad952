"""How far from its neighbours does a guest of a real crystal sit?  Chooses `REACH` of `sampling/contact_distances.py`.

    python benchmarks/guest_bonds.py mp_train.h5 --split train [--limit 20000] [--json FILE]
    python benchmarks/guest_bonds.py wbm_dev.h5
    python benchmarks/guest_bonds.py electrodes_dev.h5

Each element of a crystal in turn is the guest and the rest the host; in an electrode file the true guests are put in
the host that was relaxed without them.  The number of a site is the smallest limit, in units of the sum of covalent
radii, with which a chain of bonds leads from it to the host, through guests if need be; bonds between guests have the
limit of the rule.
"""

from __future__ import annotations

import json

import click
import numpy as np
from ase.data import chemical_symbols

from inpaint_hpc.crystals.packed import PackedDataset, read_electrodes
from inpaint_hpc.sampling.contact_distances import CONTACT, GUEST_REACH, REACH, contact_radii
from inpaint_hpc.sampling.minimum_image import PeriodicCell

IONS = (3, 11, 12, 13, 19, 20, 30, 37, 38, 55, 56)
FACTORS = (1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0)


def least_limit(ratio: np.ndarray, guest: np.ndarray) -> np.ndarray:
    """The smallest limit that connects each guest with the host; `ratio` (n, n) of all pairs, `guest` bool (n,)."""
    needed = ratio[np.ix_(guest, ~guest)].min(axis=1)
    bond = ratio[np.ix_(guest, guest)] <= GUEST_REACH
    while True:
        through = np.minimum(needed, np.where(bond, needed[None], np.inf).min(axis=1))
        if (through == needed).all():
            return needed
        needed = through


def of_sites(crystal, guests) -> list[tuple[int, float]]:
    """(atomic number, limit) of every site of the given guests, one bool (n,) after the other."""
    distances = PeriodicCell(crystal.lattice).distances(crystal.frac_coords, crystal.frac_coords)
    radii = contact_radii(crystal.numbers) / CONTACT
    ratio = distances / (radii[:, None] + radii[None])
    found = []
    for guest in guests:
        found += zip(crystal.numbers[guest].tolist(), least_limit(ratio, guest).tolist(), strict=True)
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
    """Shares in % of sites beyond each limit."""
    return {
        "sites": len(sites),
        "beyond": {f"{f:.1f}": round(float((sites[:, 1] > f).mean() * 100), 4) for f in FACTORS},
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
    parts = {"every element": sites, "the eleven ions": ions}
    parts |= {chemical_symbols[z]: ions[ions[:, 0] == z] for z in IONS if (ions[:, 0] == z).any()}
    result = {"crystals": crystals, **{name: summary(part) for name, part in parts.items()}}
    click.echo(f"{crystals} crystals of {packed}; % of sites beyond a limit, the rule is {REACH}")
    click.echo(f"{'':16}{'sites':>9}" + "".join(f"{f:8.1f}" for f in FACTORS))
    for name, part in parts.items():
        shares = "".join(f"{share:8.3f}" for share in summary(part)["beyond"].values())
        click.echo(f"{name:16}{len(part):9}{shares}")
    if json_path:
        with open(json_path, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
