"""`inpaint-hpc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

# Same as in archive/export.py, which is too slow to import just to show the help.
FORMATS = ("cif", "poscar", "extxyz", "json", "csv", "parquet")


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(FORMATS), default="cif", show_default=True, help="Output format.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Output folder (cif, poscar, json) or output file (extxyz, csv, parquet).",
)
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Best candidates per task.")
@click.option("--all", "everything", is_flag=True, help="All candidates of each task.")
@click.option(
    "--task", "tasks", multiple=True, metavar="ID", help="Only the task whose id starts with this; repeatable."
)
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help="Only hosts matching this name or pattern; repeatable."
)
@click.option("--guest", "guests", multiple=True, metavar="EL", help="Only tasks that place this element; repeatable.")
@click.option("--relaxed", is_flag=True, help="Write structures as they are after relaxation.")
def export(
    archive: Path, format: str, out: Path, top: int, everything: bool, relaxed: bool, **only: tuple[str, ...]
) -> None:
    """Write structures or a table of candidates from an archive.

    cif, poscar and json (pymatgen) write OUT/HOST/GUESTS-TASK-rank-000.cif and so on; extxyz writes one file with
    all structures and their energies; csv and parquet write one table with a row per candidate.

    Example: inpaint-hpc export RUN/archive.h5 --format csv --out best.csv --guest Li
    """
    from inpaint_hpc.archive.export import Selection
    from inpaint_hpc.archive.export import export as write
    from inpaint_hpc.campaign.archive_of import archive_of
    from inpaint_hpc.cli.collect import FileProgress

    limits: dict[str, Any] = {name: values or None for name, values in only.items()}
    selection = Selection(None if everything else top, relaxed=relaxed, **limits)
    with FileProgress({"export": "writing"}) as bars:
        report = write(archive_of(archive), out, format, selection, lambda done, total: bars("export", done, total))
    without = f"; {report.without} without any" if report.without else ""
    click.echo(f"{report.path}: {report.candidates} candidates of {report.tasks} tasks{without}")
