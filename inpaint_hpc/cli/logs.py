"""`inpaint-hpc logs`."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--job", metavar="ID", help="Job or array element to show.  [default: the last submission]")
@click.option("--rank", type=click.IntRange(min=0), help="Only this node of the job; node 0 runs the driver.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Number of lines to show, counted from the end.",
)
def logs(run: Path, job: str | None, rank: int | None, lines: int) -> None:
    """Show the output of a campaign's SLURM job, node by node."""
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.submissions import log_files
    from inpaint_hpc.errors import InputError

    files = log_files(RunDirectory(run), job)
    if rank is not None:
        files = [path for path in files if path.name.endswith(f"_{rank}_log.out")]
    if not files:
        raise InputError(f"{run}: no such log yet; `inpaint-hpc status {run}` shows whether the job has started")
    for path in files:
        click.echo(f"==> {path} <==")
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=lines):
                click.echo(line.rstrip("\n"))
