"""`inpaint-hpc submit`, and what it shares with `inpaint-hpc resume`."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.environment import user_path

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.campaign.slurm_settings import SlurmSettings
    from inpaint_hpc.cluster.slurm.submissions import Submission

_PATIENCE = 15.0


def slurm_options(command: Callable) -> Callable:
    """Options for what to request from SLURM; they override the configuration and the profile."""
    options = [
        click.option(
            "--profile", metavar="NAME|FILE", help="Profile of the cluster: generic, cpu, perlmutter, or a file."
        ),
        click.option("--nodes", type=click.IntRange(min=1), help="Nodes per allocation."),
        click.option(
            "--allocations", type=click.IntRange(min=1), help="Number of jobs that share the campaign, as a job array."
        ),
        click.option(
            "--array-parallelism", type=click.IntRange(min=1), help="Maximum number of these jobs running at once."
        ),
        click.option(
            "--time", metavar="LIMIT", help="Time limit, in minutes or H:MM:SS; unfinished jobs are requeued."
        ),
        click.option("--partition", "-p", help="Partition (see sbatch)."),
        click.option("--account", "-A", help="Account to charge (see sbatch)."),
        click.option("--qos", "-q", help="Quality of service (see sbatch)."),
        click.option("--constraint", "-C", help="Required node features (see sbatch)."),
        click.option("--gpus-per-node", metavar="N", help="GPUs per node (see sbatch)."),
        click.option("--gres", metavar="GRES", help="Generic resources per node, e.g. gpu:4 (see sbatch)."),
        click.option("--cpus-per-task", "-c", type=click.IntRange(min=1), help="CPUs per node."),
        click.option("--mem", metavar="SIZE", help="Memory per node, e.g. 64G."),
        click.option(
            "--sbatch", "extra", multiple=True, metavar="NAME[=VALUE]", help="Any other sbatch option; repeatable."
        ),
        click.option(
            "--setup",
            multiple=True,
            metavar="LINE",
            help="Shell line to run before the start, e.g. 'module load python'; repeatable.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="CONFIG.yaml|RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run directory, instead of 'output' in the configuration.",
)
@slurm_options
@click.option("--actors", type=click.IntRange(min=1), help="Workers per node.  [default: one per GPU]")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Torch device.  [default: as in the configuration]"
)
@click.option("--collect-after", is_flag=True, help="Make the archive in a separate job after all others.")
@click.option("--no-collect", is_flag=True, help="Make no archive at the end.")
@click.option("--dry-run", is_flag=True, help="Print the plan and the sbatch script on stdout and submit nothing.")
def submit(
    source: Path,
    out: Path | None,
    profile: str | None,
    dry_run: bool,
    collect_after: bool,
    no_collect: bool,
    **options: Any,
) -> None:
    """Submit a campaign to SLURM: a new one from CONFIG.yaml, or an existing RUN to continue.

    Each job requests nodes, starts a Ray cluster across them and runs the remaining tasks; the last one to finish makes
    RUN/archive.h5.  A job that reaches its time limit, loses a node or is preempted is requeued and continues later.
    `inpaint-hpc status RUN` shows the progress, `logs RUN` the output, and `cancel RUN` cancels the jobs.
    """
    from inpaint_hpc.cluster.slurm.submit import submit_run

    if collect_after and no_collect:
        raise click.UsageError("--collect-after and --no-collect contradict each other.")
    chosen = slurm_choices(options)
    if not dry_run:
        run, settings, _, _ = open_or_create(source, out, profile, chosen)
        with patience():
            sent = submit_run(run, settings, _collector(collect_after, no_collect))
        print_submission(run, settings, sent)
        return
    with tempfile.TemporaryDirectory(prefix="ihpc-plan-") as folder:
        _dry_run(source, out, Path(folder), profile, chosen, _collector(collect_after, no_collect))


def slurm_choices(options: dict[str, Any]) -> dict[str, Any]:
    """Command-line options as settings."""
    extra = dict(_parse_option(text) for text in options["extra"])
    return {**options, "extra": extra, "setup": list(options["setup"])}


def print_submission(run: RunDirectory, settings: SlurmSettings, sent: list[Submission]) -> None:
    """Print the ids of the submitted jobs on stdout, the rest on stderr."""
    left = sum(len(unit) for unit in run.pending_units())
    jobs = sum(len(submission.jobs) for submission in sent if submission.kind == "run")
    click.echo(
        f"{run.path}: {left} of {run.n_tasks} tasks are left; {jobs} allocation{'s' * (jobs > 1)} of {settings.nodes} "
        f"node{'s' * (settings.nodes > 1)} for {settings.time} minutes",
        err=True,
    )
    for submission in sent:
        click.echo(submission.job)
        if submission.cluster:
            click.echo(f"job {submission.job} is on cluster {submission.cluster}", err=True)
        if submission.kind == "collect":
            click.echo(f"job {submission.job} makes the archive after the others", err=True)
    click.echo(f"`inpaint-hpc status {run.path}` shows the progress", err=True)


def _collector(collect_after: bool, no_collect: bool) -> str:
    from inpaint_hpc.cluster.slurm.submit import AFTER, BY_JOB, NEVER

    return NEVER if no_collect else AFTER if collect_after else BY_JOB


def open_or_create(
    source: Path, out: Path | None, profile: str | None, chosen: dict[str, Any], path: Path | None = None
) -> tuple[RunDirectory, SlurmSettings, Any, Path]:
    """The run, made at `path` if it is new; what is requested; the latest `slurm` section; the path of the run.

    The section of a configuration may have changed since the run was frozen.
    """
    from inpaint_hpc.campaign.config import load_config
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.site_profiles import load_settings
    from inpaint_hpc.cluster.slurm.submit import require_possible
    from inpaint_hpc.planning.create_run import create_run

    if source.is_dir():
        if out is not None:
            raise click.UsageError("--out is only for a configuration; a run directory stays where it is.")
        run = RunDirectory(source)
        section = run.config.slurm
        return run, load_settings(profile, chosen, section), section, run.path
    config = load_config(source, {"output": str(out)} if out is not None else None)
    settings = load_settings(profile, chosen, config.slurm)
    place = user_path(config.output)
    exists = (place / "campaign.json").exists()
    if path is None and not exists:
        require_possible(settings)
    run = create_run(config, None if exists else path, gpu_workers=settings.gpu_workers(config.resources))
    return run, settings, config.slurm, place


def _dry_run(
    source: Path, out: Path | None, folder: Path, profile: str | None, chosen: dict[str, Any], collect: str
) -> None:
    from inpaint_hpc.cluster.slurm.sbatch_variables import unused_variables
    from inpaint_hpc.cluster.slurm.site_profiles import sources_of_settings
    from inpaint_hpc.cluster.slurm.submit import plan_submission

    run, settings, section, place = open_or_create(source, out, profile, chosen, folder / "run")
    plan = plan_submission(run, settings, collect, place)
    if plan.problem:
        click.echo(f"# SLURM was not asked ({plan.problem}): partition, account and array limits are not checked")
    click.echo("# sbatch was not called and nothing is kept")
    click.echo(f"# {place}: {plan.tasks_left} tasks in {plan.shards_left} shards are left")
    shape = " + ".join(map(str, plan.arrays))
    click.echo(
        f"# {plan.allocations} allocations of {settings.nodes} nodes for {settings.time} minutes, jobs: {shape}; "
        f"workers per node: {settings.actors or 'one per GPU, or per group of CPU threads'}"
    )
    said = settings.model_dump()
    for key, source_of in sources_of_settings(profile, chosen, section).items():
        name, _, option = key.partition(".")
        value = settings.extra[option] if option else said[name]
        click.echo(f"# {key}: {value} (from {source_of})")
    for name in unused_variables():
        click.echo(f"# {name} has no influence here")
    click.echo("# everything else is a default of SLURM or inpaint-hpc")
    for text in plan.scripts:
        click.echo(text)


@contextmanager
def patience() -> Iterator[None]:
    """Explain the silence of sbatch, which waits up to two minutes when the queue accepts no more jobs."""
    said = "sbatch has not answered yet: the queue may be full or slurmctld slow; Ctrl-C gives up and loses nothing"
    stream = sys.stderr  # sbatch's own stderr is collected for the error message
    timer = threading.Timer(_PATIENCE, lambda: click.echo(said, file=stream))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _parse_option(text: str) -> tuple[str, str | bool]:
    name, equals, value = text.lstrip("-").partition("=")
    return name, value if equals else True
