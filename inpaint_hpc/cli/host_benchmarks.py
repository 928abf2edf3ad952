"""What verbs of `inpaint-hpc benchmark` share that go host by host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.options import NOISE_OPTIONS

if TYPE_CHECKING:
    from inpaint_hpc.benchmark.host_rows import Column, FinishedHosts, Row

F = Callable[..., Any]


def host_options(out: str, max_atoms: int) -> Callable[[F], F]:
    """Options of all of them."""
    options = [
        click.argument("sources", nargs=-1, required=True, metavar="INPUT..."),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(out), show_default=True,
                     help="Folder of the benchmark; the same command goes on there."),
        click.option("--limit", type=click.IntRange(min=1), help="So many hosts, by hash of their ids."),
        click.option("--max-atoms", type=click.IntRange(min=2), default=max_atoms, show_default=True,
                     help="Largest crystal, with its ions."),
        click.option("--steps", type=click.IntRange(min=1), default=40, show_default=True,
                     help="Steps of the sampler."),
        *NOISE_OPTIONS,
        click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same samples."),
        click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
                     help="Torch device."),
        click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Write a row for each host."),
        click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Write everything as JSON."),
    ]  # fmt: skip

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def finish_hosts(
    finished: FinishedHosts,
    hosts: Sequence[Any],
    row_of: Callable[[Any], Row],
    columns: Sequence[Column],
    first: str,
    document: dict[str, Any],
    csv_file: Path | None,
    json_file: Path | None,
) -> None:
    """Compute the rows that are missing, write the results, and print the table.

    Args:
        finished: rows that are there.
        hosts: everything with a name that counts.
        row_of: the row of one of them.
        columns, first: of the table; `first` heads the groups.
        document: what `summary.json` says of the call.
        csv_file, json_file: where rows and everything are written besides.
    """
    show = sys.stderr.isatty()
    for done, one in enumerate(hosts, start=1):
        if one.name not in finished.rows:
            finished.add(row_of(one))
        if show:
            click.echo(f"\r{done} of {len(hosts)} hosts", nl=done == len(hosts), err=True)
    wrong = [f"{one.name}: {error}" for one in hosts if (error := finished.rows[one.name].get("error"))]
    if wrong:
        click.echo(f"without a result, and counted as wrong: {len(wrong)} hosts, the first: {wrong[0]}", err=True)
    from inpaint_hpc.benchmark.host_rows import cells, grouped

    rows = [finished.rows[one.name] for one in hosts]
    table = cells(grouped(rows, columns), columns, first)
    write_results(finished.folder, rows, rows, columns, table, document, csv_file, json_file)
    print_table(*table)


def write_results(
    folder: Path,
    rows: Sequence[Row],
    counted: Sequence[Row],
    columns: Sequence[Column],
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
    document: dict[str, Any],
    csv_file: Path | None,
    json_file: Path | None,
) -> None:
    """Write tasks.csv, summary.json and table.md in the folder's results.

    Args:
        folder: of the benchmark.
        rows: of all hosts.
        counted: those that the summary is over.
        columns: of the summary.
        table: headings and lines of table.md.
        document: what `summary.json` says of the call.
        csv_file, json_file: where rows and everything are written besides.
    """
    from inpaint_hpc._version import __version__
    from inpaint_hpc.benchmark.host_rows import grouped, markdown_of, write_rows
    from inpaint_hpc.benchmark.results import write_json

    summary = {row["group"]: row for row in grouped(counted, columns)}
    document = {"inpaint_hpc": __version__, **document, "summary": summary}
    place = folder / "results"
    place.mkdir(parents=True, exist_ok=True)
    write_rows(place / "tasks.csv", rows)
    write_json(place / "summary.json", document)
    (place / "table.md").write_text(markdown_of(*table), encoding="utf-8")
    if csv_file is not None:
        write_rows(csv_file, rows)
    if json_file is not None:
        write_json(json_file, {**document, "tasks": list(rows)})


def print_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, all but the first column to the right; in narrow terminals its cells are folded."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from inpaint_hpc.cli.guest_columns import WIDE
    from inpaint_hpc.cli.output import stdout_console

    console = stdout_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, int(console.width >= WIDE), 0, 0), show_edge=False)
    for name in headings:
        table.add_column(name, justify="right" if table.columns else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)
