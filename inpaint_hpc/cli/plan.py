"""`inpaint-hpc plan`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from inpaint_hpc.planning.estimate import Plan


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Torch device.  [default: as in the configuration]"
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Maximum time for calibration; 0 skips it and assumes an average CPU core.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def plan(config: Path, device: str | None, seconds: float, as_json: bool) -> None:
    """Estimate what a campaign will cost: tasks, shards, hours, disk space and files.

    Runs a few tasks in a temporary folder to measure the speed of this machine; writes nothing else.
    """
    from inpaint_hpc.campaign.config import load_config
    from inpaint_hpc.cli.options import choose_device
    from inpaint_hpc.planning.estimate import plan_campaign

    loaded = load_config(config)
    chosen = choose_device(device or loaded.resources.device)
    show = sys.stderr.isatty()

    def progress(hosts: int, tasks: int) -> None:
        if show:
            click.echo(f"\r{hosts} hosts, {tasks} tasks", nl=False, err=True)

    found = plan_campaign(loaded, chosen, seconds, progress)
    if show:
        click.echo("", err=True)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for line in _lines(found):
            click.echo(line)


def _lines(plan: Plan) -> list[str]:
    kind, hours = ("GPU", plan.gpu_hours) if plan.core_hours is None else ("CPU core", plan.core_hours)
    lines = [f"tasks      {plan.tasks} in {plan.hosts} hosts, {plan.samples} samples"]
    if plan.duplicates:
        lines.append(f"           {plan.duplicates} duplicates were dropped")
    lines += [f"left out   {count} x {reason}" for reason, count in plan.left_out.items()]
    lines += [
        f"shards     {plan.shards}, about {_time(plan.shard_seconds / 3600.0)} each",
        f"time       {hours:.3g} {kind} hours: {_time(plan.wall_hours)} with {plan.workers} "
        f"worker{'s' * (plan.workers > 1)} on this machine",
        f"disk       {_bytes(plan.disk_bytes)} in {plan.inodes} files and folders",
    ]
    if plan.calibration is not None:
        what = f"{plan.calibration.tasks} tasks in {plan.calibration.seconds:.1f} s on {plan.device}"
        beside = f" and {plan.analysis} process{'es' * (plan.analysis > 1)} for the analysis" if plan.analysis else ""
        beside += f"; units one at a time, not {plan.units_at_once} at once" if plan.units_at_once > 1 else ""
        lines.append(f"measured   {what} with {plan.threads} thread{'s' * (plan.threads > 1)}{beside}")
    else:
        lines.append("measured   nothing; the time is that of an average CPU core")
    return lines


def _time(hours: float) -> str:
    for unit, factor in (("days", 1 / 24.0), ("hours", 1.0), ("minutes", 60.0)):
        if hours * factor >= 2.0:
            return f"{hours * factor:.1f} {unit}"
    return f"{hours * 3600.0:.0f} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} TB"
