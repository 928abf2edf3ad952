"""`inpaint-hpc verify`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="RUN|FILE...", type=click.Path(path_type=Path))
def verify(inputs: tuple[Path, ...]) -> int:
    """Check result files and archives: checksums, counts, ranges, no missing numbers.

    FILE is a result file or an archive; for a run directory RUN, all its result files and its archive are checked.

    Exit status: 0 if all is well, 1 if there are problems, which are printed one per line.
    """
    from inpaint_hpc.archive.verify import verify as check
    from inpaint_hpc.campaign.run_results import files_of
    from inpaint_hpc.cli.collect import FileProgress

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
