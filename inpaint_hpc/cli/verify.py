"""`inpaint-hpc verify`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from inpaint_hpc.errors import InputError


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="RUN|FILE...", type=click.Path(path_type=Path))
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE", help="Compare one archive with this one instead."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="With --against: numbers that differ by at most this count as equal.  [default: 0]",
)
def verify(inputs: tuple[Path, ...], against: Path | None, tolerance: float | None) -> int:
    """Check result files and archives: checksums, counts, ranges, no missing numbers.

    FILE is a result file or an archive; for a run directory RUN, all its result files and its archive are checked.
    With --against, every stored column of two archives is compared, task by task; times and names of workers are not
    part of the answer.

    Exit status: 0 if all is well (or equal), 1 if there are problems (or differences), which are printed one per line.
    """
    from inpaint_hpc.archive.verify import verify as check
    from inpaint_hpc.campaign.run_results import files_of
    from inpaint_hpc.cli.collect import FileProgress

    if against is not None:
        return _compare(inputs, against, tolerance or 0.0)
    if tolerance is not None:
        raise click.UsageError("--tolerance goes with --against.")
    paths = files_of(inputs)
    bad = 0
    with FileProgress({"verify": "verifying"}) as progress:
        for done, path in enumerate(paths):
            problems = check(path)
            bad += bool(problems)
            for problem in problems:
                click.echo(problem)
            progress("verify", done + 1, len(paths))
    click.echo(f"{len(paths)} {'file' if len(paths) == 1 else 'files'} checked, {bad or 'none'} with problems")
    return 1 if bad else 0


def _compare(inputs: tuple[Path, ...], against: Path, tolerance: float) -> int:
    from inpaint_hpc.archive.compare import compare
    from inpaint_hpc.campaign.archive_of import archive_of

    paths = [archive_of(path) for path in (*inputs, against)]
    if len(paths) != 2:
        raise InputError(f"--against compares two archives, not {len(paths)}")
    found = compare(paths[0], paths[1])
    lines = [
        f"{count} {what}"
        for count, what in (
            (found.only_first, f"tasks are only in {paths[0]}"),
            (found.only_second, f"tasks are only in {paths[1]}"),
            (found.different_status, "tasks are done in one and failed in the other"),
        )
        if count
    ]
    for one in found.columns:
        if math.isnan(one.largest) or one.largest > tolerance:
            by = "" if math.isnan(one.largest) else f", by at most {one.largest:.3g}"
            lines.append(f"{one.name}: {one.different} of {one.rows} entries differ{by}")
    for line in lines:
        click.echo(line)
    click.echo(f"{found.tasks} tasks and {found.samples} samples compared, {len(lines) or 'no'} differences")
    return 1 if lines else 0
