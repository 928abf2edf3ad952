"""The campaign of `inpaint-hpc benchmark` on SLURM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.submit import open_or_create, patience, print_submission, slurm_choices

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.slurm.job_states import JobState

_LOOK = 5.0  # s between two looks at the jobs
# Options of `benchmark` that say nothing of jobs, and those that say something of workers anywhere.
OF_BENCHMARK = ("ions", "limit", "max_atoms", "anions", "exclude", "samples", "steps", "sampler", "sigma_max",
                "sigma_min", "no_score", "relax", "weights",
                "cluster", "les", "n_random", "matchers", "training", "csv_file", "json_file")  # fmt: skip
LOCAL = (*OF_BENCHMARK, "actors", "threads", "device")


def require_slurm(options: dict[str, Any]) -> None:
    """Refuse options of jobs where none are submitted.

    Raises:
        UsageError: naming one.
    """
    names = {name: f"--{name.replace('_', '-')}" for name in options if name not in LOCAL} | {"extra": "--sbatch"}
    given = [names[name] for name, value in options.items() if name in names and value not in (None, (), False)]
    if given and options["cluster"] != "slurm":
        raise click.UsageError(f"{given[0]} is for --cluster slurm.")


def require_request(options: dict[str, Any]) -> None:
    """Refuse a request for jobs before anything is written.

    Raises:
        InputError, SlurmError: as `cluster.slurm.submit.require_possible`, or a setting is not allowed.
    """
    from inpaint_hpc.cluster.slurm.site_profiles import load_settings
    from inpaint_hpc.cluster.slurm.submit import require_possible

    require_possible(load_settings(options["profile"], _choices(options), None))


def submitted(folder: Path, place: Path, options: dict[str, Any]) -> bool:
    """Submit what is left of a benchmark's campaign, unless its jobs are there; whether all of it is done.

    Args:
        folder: of the benchmark.
        place: its run directory, which is made if it is new.
        options: of the command line; with `wait` this returns when the jobs have ended.

    Raises:
        InputError: SLURM refuses the request, or there is none.
        SlurmError: SLURM does not answer.
    """
    from inpaint_hpc.campaign.run_results import collect_run
    from inpaint_hpc.cluster.slurm.submit import submit_run

    chosen = _choices(options)
    source = place if (place / "campaign.json").exists() else folder / "campaign.yaml"
    run, settings, _, _ = open_or_create(source, None, options["profile"], chosen)
    living = _living(run, options["wait"])
    if not living and run.pending_units():
        with patience():
            sent = submit_run(run, settings)
        print_submission(run, settings, sent)
        living = _living(run, options["wait"])
    if not run.pending_units() and not living:
        if not run.archive_path.exists():  # the last job was killed while it made it
            collect_run(run)
        return True
    left = sum(len(unit) for unit in run.pending_units())
    if living:
        click.echo(f"job {living[0].job} is {living[0].state.lower()}, {left} of {run.n_tasks} tasks are left; the "
                   "same command gives the table when they are done", err=True)  # fmt: skip
    else:
        click.echo(f"the jobs have ended, {left} of {run.n_tasks} tasks are left; `inpaint-hpc logs {run.path}` says "
                   "why, and the same command submits them again", err=True)  # fmt: skip
    return False


def _choices(options: dict[str, Any]) -> dict[str, Any]:
    return slurm_choices(
        {name: value for name, value in options.items() if name not in (*OF_BENCHMARK, "wait", "profile")}
    )


def _living(run: RunDirectory, wait: bool) -> list[JobState]:
    """Jobs of a run that are pending or running; none after waiting for them."""
    from inpaint_hpc.cluster.slurm.submissions import RUN
    from inpaint_hpc.cluster.slurm.submit import states_of

    while (living := states_of(run, RUN).living) and wait:
        time.sleep(_LOOK)
    return living
