"""`inpaint-hpc report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True), metavar="ARCHIVE | RUN | results.json")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="Only the first N results: lowest energy first, without energies most certain first.",
)
def report(source: Path, out: Path, top: int | None) -> None:
    """Write one HTML file that shows results in a browser.

    The file needs neither a server nor a network: copy it to where a browser is and open it.  It has a table of all
    results and, for each, candidates, structure, sites, hull and voltage, as far as the archive holds them.  Nothing
    is computed anew.

    Example: inpaint-hpc report RUN/archive.h5 -o report.html
    """
    from inpaint_hpc.report.render import write_report
    from inpaint_hpc.report.sources import source_contents

    contents = source_contents(source, top)
    size = write_report(contents, out)
    some = "" if contents.facts["shown"] == contents.facts["tasks"] else f" of {contents.facts['tasks']}"
    click.echo(f"{out}: {contents.facts['shown']}{some} results, {size:.1f} MB")
