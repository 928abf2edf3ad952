"""Would voids of the host, ranked by CHGNet's energy in the frozen host, beat the known place of one guest?

    python benchmarks/void_energies.py ../shared/data/wbm_dev.h5 --limit 150
    python benchmarks/void_energies.py ../shared/data/electrodes_train.h5 --electrodes --limit 80

For each host with one guest: energies as placed at the known place and at the voids; a void is wrong if it is further
from there than the tolerance of `inpaint-hpc score`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

IONS = ("Li", "Na", "K", "Mg", "Ca", "Zn", "Al")


@click.command()
@click.argument("packed", type=click.Path(exists=True, path_type=Path))
@click.option("--electrodes", is_flag=True, help="The file holds electrode pairs.")
@click.option("--limit", default=100, show_default=True, help="Hosts, by hash of the id.")
@click.option("--voids", default=8, show_default=True, help="Voids of a host, the roomiest.")
def main(packed: Path, electrodes: bool, limit: int, voids: int) -> None:
    """Print the share of hosts where a wrong void is lower than the known place, by how much."""
    from inpaint_hpc.sampling.placement_distances import compare_placements
    from inpaint_hpc.scoring.chgnet.batch import evaluate
    from inpaint_hpc.sites.voids import void_centres

    lower, found, counts = [], [], []
    for host, ion, known in (_pairs if electrodes else _crystals)(packed, limit):
        places = void_centres(host, ion, voids)
        every = [host.with_guests(np.array([ion]), place[None]) for place in np.concatenate([known, places])]
        energies = np.array(evaluate(every, what="e").energies)
        stol = 0.3 if electrodes else 0.2
        right = compare_placements(host, [ion], known, places[:, None], stol=stol).right if len(places) else np.zeros(0)
        wrong = energies[1:][~right.astype(bool)]
        lower.append(float(energies[0] - np.nanmin(wrong)) if len(wrong) else -np.inf)
        found.append(bool(right.any()))
        counts.append(len(places))
    print(f"{len(lower)} hosts, {np.mean(counts):.1f} voids each, the known place is one of them in "
          f"{100 * np.mean(found):.0f} %")  # fmt: skip
    for margin in (0.0, 0.05, 0.1, 0.2, 0.5):
        print(f"a wrong void is lower by more than {margin:4.2f} eV: {100 * np.mean(np.array(lower) > margin):5.1f} %")


def _crystals(packed: Path, limit: int) -> Iterator[tuple]:
    """Crystals with one atom of an ion, without it."""
    from ase.data import atomic_numbers

    from inpaint_hpc.crystals.packed import hash_order, read_packed

    count = 0
    for crystal in hash_order(list(read_packed(packed))):
        for ion in map(atomic_numbers.get, IONS):
            (where,) = np.nonzero(crystal.numbers == ion)
            if len(where) == 1 and 2 < len(crystal) <= 40 and count < limit:
                count += 1
                rest = np.arange(len(crystal)) != where[0]
                host = replace(crystal, numbers=crystal.numbers[rest], frac_coords=crystal.frac_coords[rest])
                yield host, ion, crystal.frac_coords[where] % 1.0


def _pairs(packed: Path, limit: int) -> Iterator[tuple]:
    """Electrode pairs of one guest: the host that relaxed without it, and where it is in the discharged crystal."""
    from inpaint_hpc.crystals.packed import hash_order, read_electrodes

    pairs = [pair for pair in read_electrodes(packed) if pair.n_guest == 1 and len(pair.reference) <= 60]
    for pair in hash_order(pairs)[:limit]:
        yield pair.host, pair.guest_z, pair.reference.frac_coords[len(pair.host) :] % 1.0


if __name__ == "__main__":
    main()
