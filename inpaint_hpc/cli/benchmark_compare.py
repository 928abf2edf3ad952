"""`inpaint-hpc benchmark compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.score import read_scores

if TYPE_CHECKING:
    from inpaint_hpc.benchmark.score import ScoredTask
    from inpaint_hpc.benchmark.sources import Source


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
    from inpaint_hpc.benchmark.paired_differences import COMPARED, paired_differences
    from inpaint_hpc.benchmark.results import TITLES, write_json
    from inpaint_hpc.benchmark.sources import find_source
    from inpaint_hpc.cli.host_benchmarks import print_table
    from inpaint_hpc.errors import InputError

    sources = [find_source(path) for path in (first, second)]
    if stol is None:  # one for both, also where one of them is a mere archive
        stol = max((one.stol for one in sources if one.folder), default=0.2)
    rows = paired_differences(_scores(sources[0], stol), _scores(sources[1], stol), by)
    if not any(row["pairs"] for row in rows):
        raise InputError(f"{first} and {second}: no host with the same guests is in both")
    if json_file is not None:
        write_json(json_file, {"first": str(first), "second": str(second), "by": by, "groups": rows})
    shares = [name for name in COMPARED if any(name in row for row in rows)]
    lines = []
    for row in rows:
        cells = [_points(row.get(name)) for name in shares]
        alone = [str(row[name] or "") for name in ("only_first", "only_second")]
        lines.append([row["group"], str(row["pairs"]), *cells, *alone])
    titles = [TITLES[name] for name in shares]
    print_table([{"guest_range": "guests"}.get(by, by), "pairs", *titles, "only in A", "only in B"], lines)


def _points(one: dict[str, Any] | None) -> str:
    if one is None or one["difference"] is None:
        return "-"
    return f"{100 * one['difference']:+.0f} ({100 * one['low']:+.0f} to {100 * one['high']:+.0f})"


def _scores(source: Source, stol: float) -> list[ScoredTask]:
    scored, _ = read_scores(source.archive, stol=stol, wanted=source.wanted)
    return source.with_kept_les(scored)
