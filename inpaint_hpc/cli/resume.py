"""`inpaint-hpc resume`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.run import finish, resource_options
from inpaint_hpc.cli.submit import patience, print_submission, slurm_choices, slurm_options

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--no-verify", is_flag=True, help="Trust the names and sizes of result files instead of verifying checksums."
)
@click.option(
    "--cluster",
    type=click.Choice(["slurm", "ray", "inline"]),
    help="Where to run: SLURM, Ray actors on this machine, or a single worker in this process.  [default: slurm if the "
    "run was submitted to it, else ray]",
)
@resource_options
@slurm_options
def resume(run: Path, no_verify: bool, cluster: str | None, no_collect: bool, top: int, **options: Any) -> int:
    """Continue a campaign, whatever stopped it.

    RUN is a run directory.  Damaged results are moved to RUN/damaged and computed again; processes left running on
    this machine by dead drivers of this run are killed.  A run that was submitted to SLURM is submitted again, with the
    settings of the last submission and the options given here; only as many jobs are added as are missing beside those
    pending or running.  Exit status as for `inpaint-hpc run`.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.submissions import submissions

    directory = RunDirectory(run)
    if cluster is None:
        cluster = "slurm" if submissions(directory) and shutil.which("sbatch") else "ray"
    here = {name: options.pop(name) for name in ("actors", "threads", "device")}
    if cluster != "slurm":
        return finish(directory, verify=not no_verify, cluster=cluster, no_collect=no_collect, top=top, **here)
    return _submit_missing(directory, not no_verify, no_collect, {**options, **here})


def _submit_missing(run: RunDirectory, verify: bool, no_collect: bool, options: dict[str, Any]) -> int:
    from inpaint_hpc.cluster.slurm.site_profiles import load_settings
    from inpaint_hpc.cluster.slurm.submissions import COLLECT, submissions
    from inpaint_hpc.cluster.slurm.submit import AFTER, BY_JOB, NEVER, last_settings, submit_run

    if verify:
        for unit, problem in run.damaged_units().items():
            click.echo(
                f"unit {unit} will be computed again: {problem}; the file was moved to {run.set_aside(unit)}", err=True
            )
    if not run.pending_units():
        click.echo(f"{run.path}: all tasks are done; `inpaint-hpc collect {run.path}` makes the archive", err=True)
        return 0
    profile, former = options.pop("profile"), last_settings(run)
    section = run.config.slurm if former is None or profile else former
    settings = load_settings(profile, slurm_choices(options), section)
    after = any(submission.kind == COLLECT for submission in submissions(run))
    with patience():
        sent = submit_run(run, settings, NEVER if no_collect else AFTER if after else BY_JOB, missing=True)
    if sent:
        print_submission(run, settings, sent)
    else:
        click.echo(f"{run.path}: as many jobs are pending or running as were requested; nothing to submit", err=True)
    return 0
