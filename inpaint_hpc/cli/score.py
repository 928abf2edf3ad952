"""`inpaint-hpc score`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True), metavar="RUN | ARCHIVE")
@click.option(
    "--by",
    type=click.Choice(["ion", "guests", "n_guests", "guest_range"]),
    default="ion",
    show_default=True,
    help="One row of the table for each ion, each composition of guests, each number of them, or ranges of it.",
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each task.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write summary and rows as JSON."
)
@click.option(
    "--symprec",
    type=click.FloatRange(min=0, min_open=True),
    default=0.1,
    show_default=True,
    help="Distance tolerance of the hosts' symmetry (A).",
)
@click.option(
    "--stol",
    type=click.FloatRange(min=0, min_open=True),
    default=0.2,
    show_default=True,
    help="Right is up to this times (V / N)^(1/3).",
)
def score(source: Path, by: str, csv_file: Path | None, json_file: Path | None, symprec: float, stol: float) -> None:
    """Score a campaign that took ions out of crystals (`remove:`) and placed them again.

    Nothing is sampled: the archive keeps where the ions were.  A placement is right if no guest is further than
    0.2 (V / N)^(1/3) from its place, up to the host's symmetry; N counts all atoms, V is the volume of the cell.
    Intervals are 95 % of a bootstrap over hosts, or over frameworks where the hosts' file has a column of that name.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.errors import InputError

    path = source
    if source.is_dir():
        path = RunDirectory(source).archive_path
        if not path.exists():
            raise InputError(f"{source}: has no archive yet; `inpaint-hpc collect {source}` makes it of what is there")
    print_summary(write_scores(path, by, csv_file, json_file, symprec, stol), by)


def write_scores(
    path: Path,
    by: str,
    csv_file: Path | None,
    json_file: Path | None,
    symprec: float = 0.1,
    stol: float = 0.2,
    wanted: Mapping[str, Container[str]] | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """Score an archive and write the files that are asked for; returns the rows of the summary.

    Args:
        path: the archive.
        by: as `summary`.
        csv_file, json_file: what to write.
        symprec: distance tolerance of the hosts' symmetry, A.
        stol: right is up to this times (V / N)^(1/3).
        wanted: hosts that count, by ion; None counts all.
        more: further values of the JSON document.
    """
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.score import score_tasks, summary
    from inpaint_hpc.sampling.settings import SamplingSettings

    show = sys.stderr.isatty()
    with Archive(path) as archive:
        total = len(archive)

        def progress(done: int) -> None:
            if show and (done % 100 == 0 or done == total):
                click.echo(f"\r{done} of {total} tasks", nl=done == total, err=True)

        scored = score_tasks(archive.iter_records(), progress, symprec, stol)
        settings = archive.attributes
    if wanted is not None:
        scored = [one for one in scored if one.host in wanted.get(one.ion, ())]
    sampling = (settings.get("configuration") or {}).get("sampling")
    rows = [{**row, "nfe": SamplingSettings(**sampling).nfe if sampling else None} for row in summary(scored, by)]
    if csv_file is not None:
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            table = [one.row() for one in scored]
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in table for name in row)))
            writer.writeheader()
            writer.writerows(table)
    if json_file is not None:
        document = {
            **more,
            "by": by,
            "symprec_A": symprec,
            "stol": stol,
            "weights_sha256": settings.get("weights_sha256"),
            "summary": {row["group"]: row for row in rows},
            "tasks": [one.row() for one in scored],
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return rows


def print_summary(rows: list[dict[str, Any]], by: str) -> None:
    """Print a summary as a table on stdout."""
    from rich import box
    from rich.table import Table

    from inpaint_hpc.cli.output import stdout_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ({"guest_range": "guests"}.get(by, by), "hosts", "one sample", "first", "any", "RMSD (A)", "failed"):
        table.add_column(name, justify="right" if table.columns else "left")
    for row in rows:
        rmsd = row["guest_rmsd_median"]
        shares = [_percent(row, name) for name in ("one_sample", "top1", "any_k")]
        failed = str(row["failed"] or "")
        table.add_row(row["group"], str(row["hosts"]), *shares, "" if rmsd is None else f"{rmsd:.3f}", failed)
    stdout_console().print(table)


def _percent(row: dict[str, Any], name: str) -> str:
    return f"{100 * row[name]:.0f} % ({100 * row[f'{name}_low']:.0f}-{100 * row[f'{name}_high']:.0f})"
