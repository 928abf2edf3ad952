"""`inpaint-hpc show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from inpaint_hpc.archive.read import Archive

# Same as in analysis/archive_overview.py, which is too slow to import just to show the help.
QUANTITIES = ("energy_per_guest_eV", "relaxed_energy_per_guest_eV", "agreement", "confidence")
_WIDTH = 80
_BAR = 40
# Heading, digits (None for text) and widest text of each column of the best; together at most 80 columns.
_COLUMNS = {
    "id": ("task", None, 10),
    "host": ("host", None, 18),
    "guests": ("guests", None, 8),
    "agreement": ("agree", 2, 5),
    "confidence": ("confi-\ndence", 2, 6),
    "energy_per_guest_eV": ("eV per\nguest", 3, 8),
    "relaxed_energy_per_guest_eV": ("relaxed", 3, 8),
    "wyckoff": ("Wyckoff", None, 9),
}


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="ARCHIVE | RUN")
@click.option(
    "--by",
    type=click.Choice(QUANTITIES),
    help="What the best tasks are chosen by.  [default: relaxed energy, if known; energy; agreement]",
)
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="How many of the best tasks.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the same numbers, and the names of pictures, to this file.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw each of the best, as one PNG.",
)
def show(source: Path, by: str | None, top: int, json_file: Path | None, pictures: Path | None) -> None:
    """Show what an archive holds: tasks, failures, agreement, time, and the best first candidates, one for each task.

    Of a RUN directory its archive is read; `inpaint-hpc status RUN` shows the progress of a campaign.

    Example: inpaint-hpc show RUN/archive.h5 --by confidence --top 20
    """
    from inpaint_hpc.analysis.archive_overview import overview
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.campaign.archive_of import archive_of

    with Archive(archive_of(source)) as archive:
        found = overview(archive, by, top)
        if pictures is not None:
            _draw(archive, found["best"], pictures)
    if json_file is not None:
        from inpaint_hpc.files import atomic_path

        with atomic_path(json_file) as temporary:
            temporary.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for line in [*_summary(found), *_failures(found), *_histogram(found)]:
        click.echo(line)
    if found["best"]:
        click.echo(f"\nbest first candidates by {found['by']}")
        _print_best(found["best"])
        if any(row.get("confidence") is not None for row in found["best"]):
            click.echo("confidence: chance that the first candidate is right")
    if pictures is not None:
        click.echo(f"{len(found['best'])} pictures in {pictures}")


def _draw(archive: Archive, best: list[dict[str, Any]], folder: Path) -> None:
    """Draw each row of the best, which gets the name of its file."""
    from inpaint_hpc.analysis.candidate_pictures import pictures_of_best
    from inpaint_hpc.cli.output import PipelineProgress

    tasks = [row["task"] for row in best]
    with PipelineProgress() as progress:
        for done, path in enumerate(pictures_of_best(archive, tasks, folder)):
            best[done]["picture"] = str(path)
            progress("picture", done + 1, len(best))


def _summary(found: dict[str, Any]) -> list[str]:
    tasks, samples = found["tasks"], found["samples"]
    said = f"{tasks['all']}: {tasks.get('done', 0)} done, {tasks.get('failed', 0)} failed"
    said += f", {tasks['without_candidates']} without candidates" if tasks["without_candidates"] else ""
    missing = (tasks["expected"] or tasks["all"]) - tasks["all"]
    said += f", {missing} of the campaign missing" if missing > 0 else ""
    weights = found["weights"]
    sha256 = f" ({weights['sha256'][:12]})" if weights["sha256"] else ""
    versions = " ".join(
        f"{name} {found['versions'][name]}" for name in ("inpaint_hpc", "torch", "chgnet") if name in found["versions"]
    )
    lines = {
        "archive": f"{found['archive']}, schema {found['schema_version']}, {found['created']}",
        "tasks": said,
        "hosts": str(found["hosts"]),
        "ions": ", ".join(f"{symbol} in {count} of {tasks['all']} tasks" for symbol, count in found["ions"].items()),
        "samples": f"{samples['drawn']} drawn, {samples['possible']} possible",
        "candidates": str(found["candidates"]),
        "weights": f"{weights['name'] or 'unknown'}{sha256}",
        "energies": ", ".join(found["potentials"]) or "unknown potential",
        "treatment": ", ".join(found["treatments"]) or "unknown",
        "versions": versions,
    }
    rate = found["samples_per_worker_second"]
    if rate is not None:
        workers = f", workers: {found['workers']}" if found["workers"] else ""
        lines["speed"] = f"{rate:.3g} samples per second of a worker{workers}"
    printed = [line for name, text in lines.items() if text for line in _wrapped(name, text)]
    for stage, time in found["seconds"]["stages"].items():
        share = 100.0 * time["total"] / found["seconds"]["all"] if found["seconds"]["all"] else 0.0
        printed += _wrapped(
            "", f"{stage:<16} {time['total']:>12.1f} s  {share:5.1f} %  {time['mean']:>9.3f} s for each task"
        )
    if len(found["potentials"]) > 1 or len(found["treatments"]) > 1:
        printed.append("Note: energies by different potentials or treatments do not compare")
    return printed


def _wrapped(name: str, text: str) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, _WIDTH - 12, break_long_words=True) if name else [text]
    return [f"{name if k == 0 else '':<12}{line}".rstrip() for k, line in enumerate(lines)]


def _failures(found: dict[str, Any]) -> list[str]:
    lines = [""] * bool(found["failures"])
    for reason in found["failures"]:
        text = f"{reason['error']} (e.g. task {reason['id'][:12]})"
        lines += _wrapped(f"failed {reason['count']:>4}", " ".join(text.split()))
    return lines


def _histogram(found: dict[str, Any]) -> list[str]:
    counts, bins = found["agreement"]["first_candidates"], found["agreement"]["bins"]
    if not any(counts):
        return []
    most = max(counts)
    lines = ["", "share of samples that agree with the first candidate: tasks"]
    for k, count in enumerate(counts):
        # Even one task is to be seen.
        bar = "#" * max(count > 0, round(_BAR * count / most))
        lines.append(f"{k / bins:4.1f} - {(k + 1) / bins:3.1f}  {bar:<{_BAR}} {count:>8}".rstrip())
    return lines


def _print_best(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from inpaint_hpc.analysis.archive_query import short_label
    from inpaint_hpc.cli.output import stdout_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    shown = {name: what for name, what in _COLUMNS.items() if any(row.get(name) is not None for row in rows)}
    for heading, digits, width in shown.values():
        side = "left" if digits is None else "right"
        table.add_column(heading, justify=side, max_width=width, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in rows:
        values = {**row, "id": row["id"][:10], "guests": short_label(row["guests"])}
        table.add_row(*(_text(values.get(name), digits) for name, (_, digits, _) in shown.items()))
    stdout_console().print(table)


def _text(value: Any, digits: int | None) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    return escape(str(value)) if digits is None else f"{value:.{digits}f}"
