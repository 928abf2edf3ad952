"""`inpaint-hpc cancel`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
def cancel(run: Path) -> None:
    """Cancel the SLURM jobs of a campaign, waiting and running ones; what is done stays.

    They do not come back by themselves; `inpaint-hpc submit RUN` goes on.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.submit import cancel_run

    cancelled = cancel_run(RunDirectory(run))
    click.echo(f"cancelled {', '.join(cancelled)}" if cancelled else f"{run}: no job waits or runs")
