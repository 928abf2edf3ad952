"""`inpaint-hpc cancel`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
def cancel(run: Path) -> None:
    """Cancel all pending and running SLURM jobs of a campaign; finished results are kept.

    Cancelled jobs are not requeued; `inpaint-hpc submit RUN` continues the campaign.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.submit import cancel_run

    cancelled = cancel_run(RunDirectory(run))
    click.echo(f"cancelled {', '.join(cancelled)}" if cancelled else f"{run}: no job is pending or running")
