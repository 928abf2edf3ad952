"""`inpaint-hpc generate`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.inpaint import show
from inpaint_hpc.cli.options import choose_device, sampling_arguments, sampling_options
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_OUT = "generated"


@click.command()
@click.option("--composition", required=True, metavar="FORMULA", help="Composition of the whole cell, e.g. Li4Mn4O8.")
@click.option("--cell", metavar="A,B,C,ALPHA,BETA,GAMMA", help="Cell lengths in A and angles in degrees.")
@click.option("--volume-per-atom", type=float, metavar="A^3", help="Volume per atom, with --family; instead of --cell.")
@click.option(
    "--family",
    type=click.Choice(["cubic", "tetragonal", "orthorhombic", "hexagonal", "rhombohedral", "monoclinic", "triclinic"]),
    default="cubic",
    show_default=True,
    help="Crystal family of the cell, with --volume-per-atom.",
)
@click.option(
    "--shape",
    multiple=True,
    metavar="NAME=VALUE",
    help="Shape of the cell: b_over_a, c_over_a, alpha, beta or gamma; repeatable.",
)
@sampling_options
def generate(composition: str, cell: str | None, volume_per_atom: float | None, family: str, **options: Any) -> int:
    """Place all atoms of a composition in a cell.

    Structures that differ according to pymatgen's StructureMatcher are ranked by CHGNet energy (after relaxation, with
    --relax) and written to DIR/FORMULA/rank-000.cif and so on.  DIR is 'generated' unless set with --out; with --json,
    files are written only if --out is given.

    Example: inpaint-hpc generate --composition Li8O4 --cell 4.62,4.62,4.62,90,90,90
    """
    start = time.perf_counter()
    shape = _parse_shape(options["shape"])
    lattice = None if cell is None else _parse_cell(cell)
    if (lattice is None) == (volume_per_atom is None):
        raise InputError("give either --cell or --volume-per-atom")
    device = choose_device(options["device"])

    from inpaint_hpc.cli.output import PipelineProgress
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline import inpaint as pipeline

    network = load_network(options["weights"], device)
    with PipelineProgress() as progress:
        result = pipeline.generate(
            network,
            composition,
            lattice,
            volume_per_atom,
            {"family": family, **shape} if lattice is None else shape,
            progress=progress,
            **sampling_arguments(options),
        )
    return show("generate", [result], start, options, DEFAULT_OUT)


def _parse_shape(values: tuple[str, ...]) -> dict[str, float]:
    shape = {}
    for value in values:
        name, _, number = (part.strip() for part in value.partition("="))
        try:
            shape[name] = float(number)
        except ValueError:
            raise InputError(f"cannot read --shape '{value}': write it like c_over_a=1.6") from None
    return shape


def _parse_cell(text: str) -> np.ndarray:
    """Rows a, b, c in A, (3, 3), of 'a,b,c,alpha,beta,gamma'."""
    import numpy as np
    from ase.geometry import cellpar_to_cell

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 6:
        raise InputError(f"cannot read --cell '{text}': write six numbers, for example 5,5,5,90,90,90")
    lengths, angles = np.array(values[:3]), np.array(values[3:])
    if not ((lengths > 0).all() and (angles > 0).all() and (angles < 180).all()):
        raise InputError(f"--cell {text}: lengths must be positive and angles between 0 and 180 degrees")
    cosines = np.cos(np.radians(angles))
    if 1 - (cosines**2).sum() + 2 * cosines.prod() <= 1e-6:
        raise InputError(f"--cell {text}: no cell has these three angles")
    return cellpar_to_cell(values)
