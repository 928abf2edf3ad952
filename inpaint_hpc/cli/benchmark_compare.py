"""`inpaint-hpc benchmark compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.score import read_scores

if TYPE_CHECKING:
    from inpaint_hpc.benchmark.score import ScoredTask


@click.command()
@click.argument("first", type=click.Path(path_type=Path, exists=True), metavar="A")
@click.argument("second", type=click.Path(path_type=Path, exists=True), metavar="B")
@click.option("--by", type=click.Choice(["ion", "guests", "n_guests", "guest_range"]), default="ion",
              show_default=True, help="One line for each of these.")  # fmt: skip
@click.option("--stol", type=click.FloatRange(min=0, min_open=True),
              help="Right is up to this times (V / N)^(1/3).  [default: the protocol's, 0.2 for archives]")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows as JSON.")
def compare(first: Path, second: Path, by: str, stol: float | None, json_file: Path | None) -> None:
    """Compare two benchmarks of the same hosts, B minus A: folders of benchmarks, run directories or archives.

    Tasks are paired by the name of the host and the guests.  Differences are in percentage points, with 95 % intervals
    of a bootstrap over frameworks, whose pairs stay together.
    """
    from rich import box
    from rich.table import Table

    from inpaint_hpc.benchmark.paired_differences import COMPARED, paired_differences
    from inpaint_hpc.benchmark.protocols import BENCHMARK, stol_of
    from inpaint_hpc.benchmark.results import TITLES, write_json
    from inpaint_hpc.cli.output import stdout_console
    from inpaint_hpc.errors import InputError

    if stol is None:  # one for both, also where one of them is a mere archive
        stol = max((stol_of(path) for path in (first, second) if (path / BENCHMARK).exists()), default=0.2)
    rows = paired_differences(_scores(first, stol), _scores(second, stol), by)
    if not any(row["pairs"] for row in rows):
        raise InputError(f"{first} and {second}: no host with the same guests is in both")
    if json_file is not None:
        write_json(json_file, {"first": str(first), "second": str(second), "by": by, "groups": rows})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    titles = [TITLES[name] for name in COMPARED]
    for name in ({"guest_range": "guests"}.get(by, by), "pairs", *titles, "only in A", "only in B"):
        table.add_column(name, justify="right" if table.columns else "left")
    for row in rows:
        cells = [_points(row[name]) for name in COMPARED]
        alone = [str(row[name] or "") for name in ("only_first", "only_second")]
        table.add_row(row["group"], str(row["pairs"]), *cells, *alone)
    stdout_console().print(table)


def _points(one: dict[str, Any]) -> str:
    if one["difference"] is None:
        return "-"
    return f"{100 * one['difference']:+.0f} ({100 * one['low']:+.0f} to {100 * one['high']:+.0f})"


def _scores(path: Path, stol: float) -> list[ScoredTask]:
    from inpaint_hpc.benchmark.protocols import BENCHMARK, hosts_of
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.errors import InputError

    archive, wanted = path, None
    if (path / BENCHMARK).exists():
        wanted, archive = hosts_of(path), path / "run" / "archive.h5"
    elif path.is_dir():
        archive = RunDirectory(path).archive_path
    if not archive.exists():
        raise InputError(f"{path}: has no archive yet")
    scored, _ = read_scores(archive, stol=stol, wanted=wanted)
    return scored
