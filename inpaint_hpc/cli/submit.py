"""`inpaint-hpc submit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="CONFIG.yaml|RUN")
@click.option("--out", type=click.Path(path_type=Path), metavar="RUN", help="Run directory instead of 'output'.")
@click.option("--profile", metavar="NAME|FILE", help="Profile of the site: generic, cpu, perlmutter, or a YAML file.")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes of the allocation.")
@click.option("--time", metavar="LIMIT", help="Minutes or H:MM:SS; the job is requeued when that is not enough.")
@click.option("--partition", "-p", help="As for sbatch; so are the next ones.")
@click.option("--account", "-A")
@click.option("--qos", "-q")
@click.option("--constraint", "-C")
@click.option("--gpus-per-node", metavar="N")
@click.option("--gres", metavar="GRES")
@click.option("--cpus-per-task", "-c", type=click.IntRange(min=1), help="Processors of each node.")
@click.option("--mem", metavar="SIZE", help="Memory of each node.")
@click.option("--sbatch", "extra", multiple=True, metavar="NAME[=VALUE]", help="Any other long option of sbatch.")
@click.option(
    "--setup", multiple=True, metavar="LINE", help="A shell line before the start, e.g. 'module load python'."
)
@click.option("--actors", type=click.IntRange(min=1), help="Workers on each node; one per GPU by default.")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads of each worker.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="By default as in the configuration.")
@click.option("--no-collect", is_flag=True, help="Make no archive at the end.")
@click.option("--dry-run", is_flag=True, help="Print the plan and the sbatch script on stdout, submit nothing.")
def submit(
    source: Path, out: Path | None, profile: str | None, dry_run: bool, no_collect: bool, **options: Any
) -> None:
    """Submit a campaign to SLURM: CONFIG.yaml makes the run directory, an existing RUN is gone on with.

    The job asks for nodes, starts a Ray cluster over them, works off what is not done yet and makes RUN/archive.h5.
    When the time limit comes, the node fails or another job takes its place, it goes back to the queue and goes on
    later.  `inpaint-hpc status RUN` shows how it goes, `logs RUN` what it says, `cancel RUN` ends it.
    """
    from inpaint_hpc.cluster.slurm_profile import load_settings
    from inpaint_hpc.cluster.slurm_submit import script, submit_run

    extra = dict(_parse_option(text) for text in options.pop("extra"))
    settings = load_settings(profile, {**options, "extra": extra, "setup": list(options["setup"])})
    run = _open_or_create(source, out)
    left = sum(len(unit) for unit in run.pending_units())
    plan = f"{run.path}: {left} of {run.n_tasks} tasks are left; {settings.nodes} nodes for {settings.time} minutes"
    if dry_run:
        click.echo(f"# {plan}\n{script(run, settings)}")
        return
    submission = submit_run(run, settings, collect=not no_collect)
    click.echo(f"{plan}, job {submission.job}", err=True)
    click.echo(submission.job)
    click.echo(f"`inpaint-hpc status {run.path}` shows how it goes", err=True)


def _open_or_create(source: Path, out: Path | None) -> RunDirectory:
    from inpaint_hpc.campaign.config import load_config
    from inpaint_hpc.campaign.create import create_run
    from inpaint_hpc.campaign.run_directory import RunDirectory

    if not source.is_dir():
        return create_run(load_config(source, {"output": str(out)} if out is not None else None))
    if out is not None:
        raise click.UsageError("--out goes with a configuration; a run directory stays where it is.")
    return RunDirectory(source)


def _parse_option(text: str) -> tuple[str, str | bool]:
    name, equals, value = text.lstrip("-").partition("=")
    return name, value if equals else True
