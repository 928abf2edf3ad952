"""`inpaint-hpc query`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from inpaint_hpc.archive.read import Archive

_SHOWN = 20
_GUESTS = 8
# Without `confidence`, which is of a task's first candidate and would stand beside all of them.
# Heading, digits (None for text) and widest text of each column; together at most 80 columns.
_COLUMNS = {
    "host": ("host", None, 18),
    "guests": ("guests", None, 9),
    "rank": ("rank", 0, 4),
    "agreement": ("agree", 2, 5),
    "energy_per_guest_eV": ("eV per\nguest", 3, 8),
    "energy_per_atom_eV": ("eV per\natom", 4, 8),
    "wyckoff": ("Wyckoff", None, 9),
}


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("expression")
@click.option("--csv", type=click.Path(path_type=Path), help="Write all columns to this file, in the archive's order.")
@click.option("--parquet", type=click.Path(path_type=Path), help="The same as Parquet.")
@click.option("--top", type=click.IntRange(min=1), help=f"Only the first N; a table shows {_SHOWN} by default.")
@click.option("--sort", metavar="COLUMN", help="Lowest value of this column first; -COLUMN: highest first.")
def query(
    archive: Path, expression: str, csv: Path | None, parquet: Path | None, top: int | None, sort: str | None
) -> None:
    """List the candidates of an archive that fit an expression.

    The expression compares columns of the table of candidates, as pandas' DataFrame.query does, with and, or, not, in
    and arithmetic, but without function calls; guests are written 'Li' or 'Li4 Na', or as for `inpaint`, 'Li=4 Na=1'.

    Example: inpaint-hpc query RUN/archive.h5 'guests == "Li" and energy_per_guest_eV < -3' --sort energy_per_guest_eV
    """
    from inpaint_hpc.analysis.archive_query import check_columns, guests_of, names_in, write_rows
    from inpaint_hpc.analysis.archive_query import query as select
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.campaign.archive_of import archive_of

    with Archive(archive_of(archive)) as opened:
        rows = select(opened, expression)
        if sort:
            column = sort.removeprefix("-")
            check_columns([column], rows.columns)
            rows = rows.sort_values(column, ascending=column == sort, kind="stable")
        if rows.empty:
            there = guests_of(opened)
            named = f"; guests here: {', '.join(there[:_GUESTS])}" if "guests" in names_in(expression) else ""
            more = f" and {len(there) - _GUESTS} more" if named and len(there) > _GUESTS else ""
            click.echo(f"{archive}: no candidate fits {expression}{named}{more}")
            return
        found, rows = len(rows), rows.head(top) if top else rows
        files = {name: out for name, out in (("csv", csv), ("parquet", parquet)) if out is not None}
        for name, out in files.items():
            write_rows(opened, rows, str(out), name)
            click.echo(f"{out}: {len(rows)} of the {found} candidates that fit")
        if not files:
            print_candidates(opened, rows.head(top or _SHOWN))
            click.echo(f"{min(found, top or _SHOWN)} of the {found} candidates that fit")


def print_candidates(archive: Archive, rows: pd.DataFrame) -> None:
    """Print a table of at most 80 columns of these candidates, whose Wyckoff positions are read for it."""
    from rich import box
    from rich.table import Table

    from inpaint_hpc.cli.output import stdout_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    shown = {name: how for name, how in _COLUMNS.items() if name in rows or name == "wyckoff"}
    for heading, digits, width in shown.values():
        table.add_column(
            heading, justify="left" if digits is None else "right", max_width=width, no_wrap=True, overflow="ellipsis"
        )
    of_task = {task: archive.candidates(int(task)) for task in rows.task.unique()}
    for row in rows.to_dict("records"):
        mine = of_task[row["task"]]
        values = {**row, "wyckoff": ", ".join(mine.wyckoff[mine["rank"] == row["rank"]].iloc[0])}
        table.add_row(*(_text(values[name], digits) for name, (_, digits, _) in shown.items()))
    stdout_console().print(table)


def _text(value: Any, digits: int | None) -> str:
    from rich.markup import escape

    if digits is None:
        return escape(str(value))
    return "-" if value != value else f"{value:.{digits}f}"
