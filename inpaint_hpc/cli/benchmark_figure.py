"""`inpaint-hpc benchmark figure`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from inpaint_hpc.errors import InputError


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="FOLDER...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("evaluations.png"),
    show_default=True,
    help="The figure; its ending says which format: png, svg or pdf.",
)
def figure(folders: tuple[Path, ...], out: Path) -> None:
    """Draw the shares of several benchmarks against the network evaluations of a sample.

    FOLDER: of a benchmark that places ions, which has results of all its hosts together; one line for each weights.
    """
    from inpaint_hpc.benchmark.figures import write_evaluations

    if out.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--out {out}: write a name that ends in .png, .svg or .pdf")
    write_evaluations(out, [_point(folder) for folder in folders])
    click.echo(f"{len(folders)} benchmarks in {out}")


def _point(folder: Path) -> dict[str, Any]:
    """The last row of a summary, with its weights."""
    try:
        document = json.loads((folder / "results" / "summary.json").read_text(encoding="utf-8"))
        row = list(document["summary"].values())[-1]
    except (OSError, ValueError, KeyError, IndexError):
        raise InputError(f"{folder}: has no results of a benchmark (results/summary.json)") from None
    if not row.get("nfe") or "top1" not in row:
        raise InputError(f"{folder}: its results do not say how many network evaluations a sample took")
    return {**row, "weights": str(document.get("weights_sha256"))[:12]}
