"""For how many insertion compounds do magnetic moments by CHGNet and charge balance give the same oxidation states?

    python benchmarks/metal_states.py ../shared/data/electrodes_dev.h5 --limit 250

Empty and filled crystals of at most 60 atoms with V, Mn or Fe; the ranges of `inpaint_hpc.analysis.metal_states` were
read off 500 crystals of ../shared/data/electrodes_train.h5 with one such metal.
"""

from __future__ import annotations

import click

from inpaint_hpc.analysis.charge_limits import oxidation_states
from inpaint_hpc.analysis.metal_states import MOMENTS, metal_states
from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", default=250, show_default=True, help="Pairs.")
@click.option("--max-atoms", default=60, show_default=True)
def main(packed: str, limit: int, max_atoms: int) -> None:
    """Print for each metal how many crystals with one state, and with two, are told."""
    pairs = list(read_electrodes(packed))[:limit]
    counts: dict[tuple[str, str], list[int]] = {}
    for crystal in (crystal for pair in pairs for crystal in (pair.host, pair.reference)):
        balanced = oxidation_states(crystal)[0] if len(crystal) <= max_atoms else {}
        metals = [metal for metal in MOMENTS if metal in balanced]
        (told,) = metal_states([crystal], DEFAULT_WEIGHTS) if metals else ({},)
        for metal in metals:
            whole = abs(balanced[metal] - round(balanced[metal])) < 1e-3
            count = counts.setdefault((metal, "one state" if whole else "two states"), [0, 0])
            count[0] += 1
            count[1] += metal in told
    for (metal, kind), (all_of_them, told_of) in sorted(counts.items()):
        click.echo(f"{metal:2} {kind:10} {told_of:4} of {all_of_them:4} agree")


if __name__ == "__main__":
    main()
