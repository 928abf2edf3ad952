"""`inpaint-hpc status`."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from inpaint_hpc.campaign.status import Status
    from inpaint_hpc.cluster.slurm.job_states import Poll

_SHOWN_WORKERS = 16
_SHOWN_JOBS = 12


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--watch", is_flag=True, help="Refresh until the campaign is done or Ctrl-C is pressed.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=5.0,
    show_default=True,
    help="Seconds between refreshes, with --watch.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object on stdout and nothing else; with --watch, one per line.",
)
def status(run: Path, watch: bool, every: float, as_json: bool) -> None:
    """Show the progress of a campaign: tasks, speed, remaining time, workers, errors.

    Reads the run directory, so it works from any shell on any machine that can see it; also asks SLURM about the jobs.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.campaign.status import read_status
    from inpaint_hpc.cluster.slurm.submit import states_of

    directory = RunDirectory(run)
    while True:
        found = read_status(directory)
        jobs = states_of(directory)
        if as_json:
            said = {
                **found.as_dict(),
                "jobs": [vars(job) for job in jobs.states.values()],
                "jobs_problem": jobs.problem,
            }
            click.echo(json.dumps(said, indent=None if watch else 2))
        else:
            if watch:
                click.clear()
            click.echo("\n".join(_lines(found, jobs) + job_lines(directory.path, jobs)))
        if not watch or found.done:
            return
        time.sleep(every)


def _lines(found: Status, jobs: Poll) -> list[str]:
    percent = 100.0 * found.tasks_done / found.tasks
    lines = [
        f"{found.path}  campaign {found.campaign[:12]}, created {found.created}",
        f"tasks    {found.tasks_done} of {found.tasks} done ({percent:.1f} %), {found.tasks_failed} failed, "
        f"{found.tasks_pending} pending",
        f"shards   {found.shards_done} of {found.shards} done",
        f"samples  {found.samples}, and {found.invalid} impossible ones discarded ({100 * found.invalid_rate:.1f} %)",
    ]
    if found.taken_out:
        lines.append(
            f"right    {found.right} of {found.taken_out} first candidates put back what was taken out "
            f"({100 * found.right / found.taken_out:.1f} %)"
        )
    if found.done:
        archive = "archive.h5 is there" if found.collected else f"`inpaint-hpc collect {found.path}` makes the archive"
        lines.append(f"done     {archive}")
    elif found.samples_per_second:
        to_go = "unknown" if found.eta_seconds is None else _duration(found.eta_seconds)
        lines.append(f"speed    {found.samples_per_second:.2f} samples/s, {to_go} to go")
    elif not found.workers_alive and not jobs.living:
        lines.append(f"speed    nothing is running; `inpaint-hpc resume {found.path}` continues")
    lines.append(f"workers  {found.workers_alive} alive of {len(found.workers)}")
    for worker in found.workers[:_SHOWN_WORKERS]:
        units = ", ".join(worker.units)
        where = f"unit{'s' * (len(worker.units) > 1)} {units}" if units else worker.state
        gone = "ended" if worker.state == "ended" else "gone, last seen"
        what = where if worker.alive else f"{gone} {_duration(worker.age)} ago"
        lines.append(
            f"  {worker.name:<24} {worker.device:<8} {what:<28} {worker.tasks} tasks, "
            f"{worker.samples_per_second:.2f} samples/s"
        )
    if len(found.workers) > _SHOWN_WORKERS:
        lines.append(f"  and {len(found.workers) - _SHOWN_WORKERS} more")
    if found.last_error:
        lines.append(f"last error  {found.last_error}")
    return lines


def job_lines(path: Path, jobs: Poll) -> list[str]:
    """A line for each pending or running job, and for each job of the last submission that did not end well."""
    states = list(jobs.states.values())
    last = states[-1].job.partition("_")[0] if states else ""
    shown = [state for state in states if state.living or state.job.partition("_")[0] == last]
    lines = [f"jobs     SLURM cannot be asked ({jobs.problem}); what follows is from the run directory"] * bool(
        jobs.problem and states
    )
    for state in shown[:_SHOWN_JOBS]:
        text = f"job      {state.job} {state.state}"
        text += f" on {state.nodes}" if state.nodes else ""
        text += f" of cluster {state.cluster}" if state.cluster else ""
        text += f", requeued {state.restarts} times" if state.restarts else ""
        text += f" ({state.reason})" if state.reason else ""
        if state.state == "PENDING" and state.reason == "BeginTime":
            text += ": it was requeued and starts again soon"
        if not state.living and state.state != "COMPLETED":
            text += f"; `inpaint-hpc logs {path}` shows why, `inpaint-hpc resume {path}` continues"
        lines.append(text)
    more = Counter(state.state for state in shown[_SHOWN_JOBS:])
    if more:
        lines.append(f"  and {', '.join(f'{count} {state}' for state, count in sorted(more.items()))}")
    return lines


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
