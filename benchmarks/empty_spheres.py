"""The largest sphere without atoms in the hosts of a data set: chooses `VOID` of `sampling/empty_space.py`.

    python benchmarks/empty_spheres.py mp_train.h5 --split train --limit 8000
    python benchmarks/empty_spheres.py electrodes_dev.h5

Hosts are those of an electrode file, or crystals with all atoms of one of eleven ions taken out.
"""

from __future__ import annotations

import click
import numpy as np

from inpaint_hpc.crystals.packed import PackedDataset, read_electrodes
from inpaint_hpc.sampling.empty_space import VOID, largest_empty_sphere

IONS = (3, 11, 12, 13, 19, 20, 30, 37, 38, 55, 56)
LIMIT = 12.0  # A


def hosts_of(path: str, split: str | None, limit: int | None):
    if "electrodes" in path:
        yield from (pair.host for pair in read_electrodes(path))
        return
    dataset = PackedDataset(path, split)
    rows = np.arange(len(dataset))
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
    for row in rows:
        crystal = dataset[int(row)]
        elements = set(crystal.numbers.tolist())
        yield from (crystal.without(z) for z in sorted(elements & set(IONS)) if len(elements) > 1)


@click.command()
@click.argument("packed")
@click.option("--split", type=click.Choice(["train", "val"]), help="Only this part of the file.")
@click.option("--limit", type=int, help="A random part of this many crystals; all by default.")
def main(packed: str, split: str | None, limit: int | None) -> None:
    radii = np.array([largest_empty_sphere(h.lattice, h.frac_coords, LIMIT) for h in hosts_of(packed, split, limit)])
    quantiles = ", ".join(f"{100 * q:g} %: {np.quantile(radii, q):.2f} A" for q in (0.5, 0.9, 0.99, 0.999, 1.0))
    click.echo(f"{len(radii)} hosts of {packed}; quantiles {quantiles}")
    for radius in (3.5, 4.0, VOID, 5.0, 6.0):
        mark = "  <- the rule" if radius == VOID else ""
        click.echo(f"a sphere of more than {radius} A: {100 * (radii > radius).mean():.2f} %{mark}")


if __name__ == "__main__":
    main()
