"""`inpaint-hpc score`."""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from inpaint_hpc.benchmark.score import ScoredTask
    from inpaint_hpc.crystals.batch import Crystal

MATCHERS_HELP = "Also whether pymatgen's StructureMatcher matches the first candidate, at three tolerances; slow."


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True), metavar="BENCHMARK | RUN | ARCHIVE")
@click.option(
    "--by",
    type=click.Choice(["ion", "guests", "n_guests", "guest_range"]),
    help="One row of the table for each ion, each composition of guests, each number of them, or ranges of it.  "
    "[default: the benchmark's, ion otherwise]",
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
    help="Right is up to this times (V / N)^(1/3).  [default: the benchmark's, 0.2 otherwise]",
)
@click.option("--matchers", is_flag=True, help=MATCHERS_HELP)
def score(
    source: Path,
    by: str | None,
    csv_file: Path | None,
    json_file: Path | None,
    symprec: float,
    stol: float | None,
    matchers: bool,
) -> None:
    """Score a campaign that took ions out of crystals (`remove:`) and placed them again.

    Of a folder of `inpaint-hpc benchmark` the hosts that it chose count, with its tolerance, with LES where it has been
    computed, and with the chance rate if it was asked for.  Nothing is sampled: the archive keeps where the ions were.
    A placement is right if no guest is further than 0.2 (V / N)^(1/3) from its place, up to the host's symmetry; N
    counts all atoms, V is the volume of the cell.  Intervals are 95 % of a bootstrap over hosts, or over frameworks
    where the hosts' file has a column of that name; Wilson's where all of them agree.
    """
    from inpaint_hpc.benchmark.protocols import references_of
    from inpaint_hpc.benchmark.results import document_of, rows_of, write_csv, write_json
    from inpaint_hpc.benchmark.sources import find_source

    found = find_source(source)
    by, stol = by or found.by, stol or found.stol
    scored, attributes = read_scores(found.archive, symprec, stol, found.wanted)
    scored = found.with_kept_chance(found.with_kept_les(found.with_kept_distances(scored)), symprec, stol)
    if matchers:
        references = {} if found.folder is None else references_of(found.folder)
        scored = score_matches(found.archive, scored, references)
    rows = rows_of(scored, by, attributes)
    if csv_file is not None:
        write_csv(csv_file, scored)
    if json_file is not None:
        write_json(json_file, document_of(scored, rows, attributes, by=by, symprec_A=symprec, stol=stol))
    print_summary(rows, by)


def read_scores(
    path: Path, symprec: float = 0.1, stol: float = 0.2, wanted: Mapping[str, Container[str]] | None = None
) -> tuple[list[ScoredTask], dict[str, Any]]:
    """Scores of an archive's tasks, and the attributes of the archive.

    Args:
        path: the archive.
        symprec: distance tolerance of the hosts' symmetry, A.
        stol: right is up to this times (V / N)^(1/3).
        wanted: hosts that count, by ion; None counts all.

    Raises:
        InputError: no task counts.
    """
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.score import score_tasks

    show = sys.stderr.isatty()
    with Archive(path) as archive:
        total = len(archive)

        def progress(done: int) -> None:
            if show and (done % 100 == 0 or done == total):
                click.echo(f"\r{done} of {total} tasks", nl=done == total, err=True)

        scored = score_tasks(archive.iter_records(), progress, symprec, stol)
        if wanted is not None:
            scored = [one for one in scored if one.host in wanted.get(one.ion, ())]
            if not scored:
                raise InputError(f"{path}: holds none of the hosts that the benchmark chose; run it again")
        return scored, archive.attributes


def score_matches(path: Path, scored: list[ScoredTask], references: Mapping[str, Crystal]) -> list[ScoredTask]:
    """Scores with the verdicts of `with_matchers` on an archive's tasks."""
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.matchers import with_matchers

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done} of {len(scored)} tasks matched", nl=done == len(scored), err=True)

    with Archive(path) as archive:
        return with_matchers(scored, archive.iter_records(), references, progress)


def print_summary(rows: list[dict[str, Any]], by: str) -> None:
    """Print a summary as a table on stdout."""
    from inpaint_hpc.benchmark.results import TITLES, percent
    from inpaint_hpc.cli.host_benchmarks import print_table

    shares = [name for name in TITLES if all(name in row for row in rows)]
    lines = []
    for row in rows:
        rmsd = row["guest_rmsd_median"]
        cells = [percent(row, name) for name in shares]
        failed = str(row["failed"] or "")
        lines.append([row["group"], str(row["hosts"]), *cells, "" if rmsd is None else f"{rmsd:.3f}", failed])
    first = {"guest_range": "guests"}.get(by, by)
    print_table([first, "hosts", *(TITLES[name] for name in shares), "RMSD (A)", "failed"], lines)
