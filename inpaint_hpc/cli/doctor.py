"""`inpaint-hpc doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show versions, devices, weights, and whether SLURM is available.

    Exit status 1 if something that is needed is missing or damaged.
    """
    from inpaint_hpc.cluster.inspection import inspect_environment

    report = inspect_environment()
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        for label, value in _lines(report):
            click.echo(f"{label:<14} {value}")
        for problem in report["problems"]:
            click.echo(f"PROBLEM: {problem}")
        if not report["problems"]:
            click.echo("everything needed is installed")
    ctx.exit(1 if report["problems"] else 0)


def _lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "inpaint_hpc", report["inpaint_hpc"]
    yield "python", f"{report['python']} on {report['platform']}"
    yield "cpu", f"{report['cpu']['cores']} cores, {_gib(report['cpu']['memory_GiB'])}"
    for device in report["devices"]:
        yield "device", f"{device['name']} ({device['kind']}, {_gib(device['memory_GiB'])}): {device['kernels']}"
    if report["gpus"]["names"]:
        yield "gpus", f"{len(report['gpus']['names'])} for workers: {', '.join(report['gpus']['names'])}"
        without = "no CUDA MPS (nvidia-cuda-mps-control -d): workers that share a card take turns on it"
        yield "gpus", "CUDA MPS runs: workers may share a card" if report["gpus"]["mps"] else without
    for note in report["gpus"]["notes"]:
        yield "gpus", note
    for weights in report["weights"]:
        state = "verified" if weights["verified"] else "DAMAGED"
        yield "weights", f"{weights['name']} sha256 {weights['sha256'][:12]} {state} ({weights['path']})"
    found = [command for command, path in report["slurm"].items() if path]
    yield "slurm", f"found: {', '.join(found)}" if found else "not found (only needed on a cluster)"
    for name, version in report["optional"].items():
        yield name, version or "not installed (only needed to export Parquet)"
    for name, version in report["packages"].items():
        yield name, version or "MISSING"


def _gib(memory: float | None) -> str:
    return "memory unknown" if memory is None else f"{memory:g} GiB"
