"""`inpaint-hpc run`, and what it shares with `inpaint-hpc resume`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.main import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from inpaint_hpc.archive.collect import CollectReport
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.driver_state import DriveState

_LINE_SECONDS = 30.0


def resource_options(command: Callable) -> Callable:
    """Options of `run` and `resume` for the resources of a campaign; none of them changes a result."""
    options = [
        click.option(
            "--actors", type=click.IntRange(min=1), help="Number of workers.  [default: as in the configuration]"
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            help="Torch device.  [default: as in the configuration]",
        ),
        click.option("--no-collect", is_flag=True, help="Leave the results in the run directory and make no archive."),
        click.option(
            "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Number of tasks in the summary."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run directory, instead of 'output' in the configuration.",
)
@click.option(
    "--cluster",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="Ray actors on this machine, or a single worker in this process.",
)
@resource_options
def run(config: Path, out: Path | None, **options: Any) -> int:
    """Run a campaign: hosts x guests from CONFIG.yaml, on this machine.

    Everything the campaign needs is frozen in the run directory, so after any interruption the same command or
    `inpaint-hpc resume RUN` continues it.  At the end the results are merged into RUN/archive.h5.

    Exit status: 0 if every task has a result, 1 if some are missing, 2 after an error, 130 after Ctrl-C.
    """
    from inpaint_hpc.campaign.config import load_config
    from inpaint_hpc.cluster.local import choose_workers
    from inpaint_hpc.planning.create_run import create_run

    loaded = load_config(config, {"output": str(out)} if out is not None else None)
    start = time.perf_counter()
    wanted, used = loaded.resources, {name: options[name] for name in ("actors", "threads", "device")}
    workers = choose_workers(*(used[name] or getattr(wanted, name) for name in used))
    directory = create_run(loaded, gpu_workers=workers.actors if workers.gpus else 0)
    counts = directory.info["counts"]
    click.echo(
        f"{directory.path}: {counts['tasks']} tasks of {counts['hosts']} hosts in {counts['shards']} shards, "
        f"{counts['samples']} samples ({time.perf_counter() - start:.1f} s)",
        err=True,
    )
    for reason, count in counts.get("left_out", {}).items():
        click.echo(f"left out: {count} x {reason}", err=True)
    return finish(directory, verify=False, **options)


def finish(
    directory: RunDirectory,
    verify: bool,
    cluster: str,
    actors: int | None,
    threads: int | None,
    device: str | None,
    no_collect: bool,
    top: int,
) -> int:
    """Run the remaining tasks of a campaign, collect and show the results; returns the exit status."""
    from inpaint_hpc.campaign.run_results import collect_run
    from inpaint_hpc.cluster.local import run_campaign

    with RunProgress() as progress:
        report = run_campaign(directory, cluster, actors, threads, device, progress, verify)
    state = report.state
    if state.units_done or state.isolated:
        click.echo(f"{progress.summary(state)}", err=True)
    if report.stopped:
        click.echo(
            f"stopped by {report.stopped}, {report.tasks_pending} tasks are left; continue with "
            f"`inpaint-hpc resume {directory.path}`",
            err=True,
        )
        return {"SIGINT": EXIT_INTERRUPTED, "SIGTERM": 143}.get(report.stopped, 1)
    if no_collect:
        click.echo(f"results are in {directory.path / 'results'}; `inpaint-hpc collect {directory.path}` merges them")
        return 0 if not report.tasks_pending else 1
    collected = collect_run(directory)
    say_what_is_left_out(directory.path, collected)
    if top:
        print_best(directory.archive_path, top)
    click.echo(
        f"{collected.path}: {collected.tasks} tasks ({collected.done} done, {collected.failed} failed), "
        f"{collected.samples} samples, {collected.candidates} candidates"
    )
    return 0 if collected.complete else 1


def say_what_is_left_out(run: Path, report: CollectReport) -> None:
    """Report damaged results and missing tasks on stderr."""
    for line in report.damaged[:20]:
        click.echo(f"left out: {line}", err=True)
    if report.missing:
        click.echo(
            f"missing: {report.missing} of {report.expected} tasks; `inpaint-hpc resume {run}` runs them", err=True
        )


def print_best(archive_path: Path, top: int) -> None:
    """Print the best candidate of each of the first `top` tasks on stdout, one row each; reads only these."""
    import numpy as np
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.cli.guest_columns import (
        NARROW,
        WIDE,
        add_columns,
        energy_per_guest,
        guest_force,
        neighbours,
        number,
        valences,
    )

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)  # rich would assume 80 columns and cut the table
    table = Table(
        title="[bold]Best candidate of each task[/]",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for name in ("host", "guests"):
        table.add_column(name, overflow="fold")
    add_columns(table, ("eV per\nguest", "force\neV/A", "site", "neighbours", "BVS", "agree"), left=("site",))

    with Archive(archive_path) as archive:
        shown = min(top, len(archive))
        names, guests = archive.task_labels()
        for row, record in enumerate(archive.iter_records(np.arange(shown))):
            cells = [names[row], guests[row]]
            if record.failed:
                table.add_row(*cells, "failed", *[""] * 4)
                continue
            if not len(record.candidates):
                table.add_row(*cells, "none", *[""] * 4)
                continue
            best = record.candidates[0]
            sites = ", ".join(dict.fromkeys(filter(None, best.wyckoff)))
            cells += [number(energy_per_guest(best), 3), number(guest_force(best), 2), sites]
            cells += [
                neighbours(best.environment, 1000 if console.width >= WIDE else NARROW),
                valences(best.bond_valence_sum),
            ]
            table.add_row(*cells, f"{best.count}/{record.n_valid}")
        hidden = len(archive) - shown
    if hidden:
        table.caption = f"and {hidden} more tasks in {archive_path}"
    console.print(table)


class RunProgress(logging.Handler):
    """Progress of a driver on stderr: a bar on a terminal, otherwise an occasional line; with warnings in between."""

    def __init__(self) -> None:
        """Make the bar, which appears on entering."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.text import Text

        class TwoLines(Progress):
            """The bar, and below it the text that does not fit beside it."""

            text = "starting workers"

            def get_renderables(self) -> Iterator[Any]:
                yield self.make_tasks_table(self.tasks)
                yield Text(self.text, overflow="ellipsis", no_wrap=True)

        super().__init__(logging.WARNING)
        self._terminal = sys.stderr.isatty()
        self._bar = TwoLines(
            TextColumn("[bold]tasks"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self._terminal,
        )
        self._task: Any = None
        self._last_line = time.monotonic()

    def __enter__(self) -> RunProgress:
        """Show the bar, and warnings of the package above it."""
        self._bar.start()
        self._task = self._bar.add_task("tasks", total=None)
        logger = logging.getLogger("inpaint_hpc")
        self._propagates, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is; warnings go where they went before."""
        logger = logging.getLogger("inpaint_hpc")
        logger.removeHandler(self)
        logger.propagate = self._propagates
        self._bar.stop()

    def __call__(self, state: DriveState) -> None:
        """Called by the driver."""
        self._bar.text = _rates(state)
        self._bar.update(self._task, completed=state.tasks_done, total=state.tasks)
        if not self._terminal and time.monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = time.monotonic()
            click.echo(f"{state.tasks_done}/{state.tasks} tasks  {_rates(state)}", err=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning: above the bar on a terminal."""
        if self._terminal:
            self._bar.console.print(record.getMessage(), style="yellow", markup=False)
        else:
            click.echo(record.getMessage(), err=True)

    @staticmethod
    def summary(state: DriveState) -> str:
        """One line at the end."""
        text = f"{state.samples} samples in {_duration(state.seconds)} ({state.samples_per_second:.2f} per s)"
        for count, what in ((state.failed, "tasks failed"), (state.deaths, "worker deaths")):
            text += f", {count} {what}" if count else ""
        return text


def _rates(state: DriveState) -> str:
    if not state.units_done and not state.in_flight:
        return f"starting {state.workers} workers"
    if state.elsewhere and not state.in_flight:
        return f"waiting for {state.elsewhere} shards claimed by other drivers"
    text = f"{state.units_left} shards left  {state.samples_per_second:.1f} samples/s"
    text += f"  {state.in_flight} of {state.workers} workers busy  {state.cores:.1f} cores"
    if state.gpu_percent is not None:
        text += f"  GPU {state.gpu_percent:.0f} %"
    if state.failed:
        text += f"  {state.failed} failed"
    if state.deaths:
        text += f"  {state.deaths} worker deaths"
    if state.eta_seconds is not None:
        text += f"  {_duration(state.eta_seconds)} to go"
    return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
