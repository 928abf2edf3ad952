"""`inpaint-hpc collect`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

_SHOWN = 20


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="RUN|FILE...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Archive to write.  [default: RUN/archive.h5]",
)
@click.option("--strict", is_flag=True, help="Write nothing if result files are damaged or tasks are missing.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file (RUN/archive.h5 is always replaced).")
def collect(inputs: tuple[Path, ...], out: Path | None, strict: bool, overwrite: bool) -> int:
    """Merge the results of a run into one archive.

    RUN is a run directory, which may still be running; FILE is a result file or an archive.  Each task is included
    once.  An older archive is replaced only when the new one is complete, so this command may be killed at any time.

    Exit status: 0 if every task has a result, 1 if some are missing, 2 after an error.
    """
    from inpaint_hpc.campaign.run_results import collect_inputs
    from inpaint_hpc.errors import InputError

    if out is None and len(inputs) == 1 and inputs[0].is_dir():
        out = inputs[0] / "archive.h5"
    elif out is None:
        raise click.UsageError("Give the archive to write with --out.")
    elif out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; add --overwrite to replace it")
    with FileProgress({"check": "checking", "merge": "merging"}) as progress:
        report = collect_inputs(inputs, out, strict, progress)
    for line in report.damaged[:_SHOWN]:
        click.echo(f"left out: {line}", err=True)
    if len(report.damaged) > _SHOWN:
        click.echo(f"left out: {len(report.damaged) - _SHOWN} more damaged files", err=True)
    for count, what in (
        (report.duplicates, "results of tasks already in the archive"),
        (report.unexpected, "tasks of other campaigns"),
    ):
        if count:
            click.echo(f"left out: {count} {what}", err=True)
    if report.missing:
        first = ", ".join(text[:12] for text in report.missing_ids[:3])
        click.echo(f"missing: {report.missing} of {report.expected} tasks have no result, first {first}", err=True)
    click.echo(
        f"{report.path}: {report.tasks} tasks ({report.done} done, {report.failed} failed), {report.samples} samples, "
        f"{report.candidates} candidates, {report.hosts} hosts from {report.files} files"
    )
    return 0 if report.complete else 1


class FileProgress:
    """A progress bar for each stage, shown only on a terminal.

    Args:
        stages: label of the bar of each stage.
    """

    def __init__(self, stages: dict[str, str]) -> None:
        """Make the bars, which appear on entering."""
        from rich.console import Console
        from rich.progress import Progress

        self._stages = stages
        self._bars = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> FileProgress:
        """Start to show bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(self._stages[stage], total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)
