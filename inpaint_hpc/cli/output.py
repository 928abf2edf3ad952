"""Output of the verbs: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from .guest_columns import NARROW, WIDE, add_columns, energy_per_guest, guest_force, neighbours, number, valences

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

    from inpaint_hpc.pipeline.results import Candidate, InpaintResult

_STAGES = {
    "sample": "sampling",
    "redraw": "resampling",
    "score": "CHGNet energies",
    "relax": "relaxation",
    "picture": "pictures",
    "sites": "sampling",
    "energies": "relaxation",
    "search": "orderings",
    "sequential": "one by one",
}
_UNITS = {
    "score": "candidates",
    "relax": "candidates",
    "picture": "hosts",
    "energies": "sites",
    "search": "evaluations",
}


class PipelineProgress:
    """A progress bar for each stage on a terminal, otherwise one line per finished stage; always on stderr.

    Example:
        with PipelineProgress() as progress:
            inpaint_many(network, hosts, guests, progress=progress)
    """

    def __init__(self) -> None:
        """Make the bars, which appear on entering."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("[bold]{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> PipelineProgress:
        """Start to show bars."""
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave the bars as they are."""
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Called by the pipeline; a stage may start again with another total."""
        if stage not in self._tasks:
            unit = _UNITS.get(stage, "steps")
            self._tasks[stage] = self._bars.add_task(_STAGES.get(stage, stage), total=total, unit=unit)
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if done >= total and self._done.get(stage) != (done, total) and not sys.stderr.isatty():
            click.echo(f"{_STAGES.get(stage, stage)}: {total} done", err=True)
        self._done[stage] = (done, total)


def print_results(results: Sequence[InpaintResult], top: int | None = None) -> None:
    """Print one table per result on stdout, with its invalid rate and notes below."""
    console = stdout_console()
    for result in results:
        if result.candidates:
            console.print(_table(result, top, console.width >= WIDE))
        else:
            console.print(f"[bold]{result.name}[/]: no candidates")
        console.print(_footer(result), style="dim")
        for note in result.notes:
            console.print(f"Note: {result.name}: {note}", markup=False)
        console.print()


def print_summary(results: Sequence[InpaintResult]) -> None:
    """Print one row per result on stdout: its best candidate, and the ranks of experimentally known sites."""
    from rich import box
    from rich.table import Table

    from inpaint_hpc.analysis.known_sites import KNOWN_SITES, ranks_of_known

    console = stdout_console()
    width = 1000 if console.width >= WIDE else NARROW
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    names = ("host", "guest", "eV per\nguest", "force\neV/A", "site", "neighbours", "agree")
    add_columns(table, names, left=("host", "guest", "site"))
    table.add_column("known sites\nand their rank")
    for index, result in enumerate(results):
        known = KNOWN_SITES.get(result.name, ())
        ranks = zip(known, ranks_of_known(result, known), strict=True)
        found = ", ".join(f"{site.kind}: {'not found' if rank is None else rank}" for site, rank in ranks)
        first = index == 0 or results[index - 1].name != result.name
        row = [result.name if first else "", result.guest_label.replace("=1", "")]
        if result.candidates:
            best = result.candidates[0]
            row += [number(energy_per_guest(best), 3), number(guest_force(best), 2), counted(best.wyckoff)]
            row += [neighbours(best.environment, width), f"{best.count}/{result.n_valid}"]
        else:
            row += ["-"] * 5
        last = index + 1 == len(results) or results[index + 1].name != result.name
        table.add_row(*row, found, end_section=last)
    console.print(table)
    for result in results:
        for note in result.notes:
            console.print(f"Note: {result.name} + {result.guest_label}: {note}", markup=False)


def stdout_console() -> Console:
    """The console that tables are printed on."""
    from rich.console import Console

    console = Console(highlight=False)
    # Without a terminal rich assumes 80 columns and cuts tables.
    return console if console.is_terminal else Console(highlight=False, width=140)


def _table(result: InpaintResult, top: int | None, wide: bool) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    in_host = len(result.host) > 0
    title = f"[bold]{escape(result.name)}[/]"
    title += f" ({result.host.formula}) + {result.guest_label}" if in_host else ""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False
    )
    relaxed = any(candidate.relaxed is not None for candidate in result.candidates)
    one_guest = len(result.guests) == 1
    columns = _columns_in_host(result, wide) if in_host else _columns_of_crystal(result)
    if wide:
        best = result.candidates[0].ranking_energy
        columns |= {"relaxation\nsteps": _steps} if relaxed else {}
        columns |= {"as placed\nmeV/atom": lambda c: _above(c.energy_per_atom, best)} if relaxed else {}
        columns |= {"min dist.\nA": lambda c: number(c.min_distance, 2)} if not relaxed else {}
        if one_guest:
            columns["guest at\nfractional"] = lambda c: " ".join(f"{x:.4f}" for x in c.guests_at_rest[0])
    add_columns(table, list(columns), left=("site", "space\ngroup", "guest at\nfractional"))
    for candidate in result.candidates[:top]:
        table.add_row(*(text(candidate) for text in columns.values()))
    hidden = len(result) - len(result.candidates[:top])
    if hidden:
        table.caption = f"and {hidden} more"
    return table


def _columns_in_host(result: InpaintResult, wide: bool) -> dict[str, Callable[[Candidate], str]]:
    """Heading -> text of a candidate; all in 80 columns."""
    best = result.candidates[0].ranking_energy
    per_guest = (len(result.host) + len(result.guests)) / len(result.guests)
    return {
        "rank": lambda c: str(c.rank),
        "eV per\nguest": lambda c: number(energy_per_guest(c), 3),
        "meV\nabove": lambda c: _above(c.ranking_energy, best, per_guest),
        "eV per\natom": lambda c: number(c.ranking_energy, 4),
        "force\neV/A": lambda c: number(guest_force(c), 2),
        "site": lambda c: counted(c.wyckoff),
        "neighbours": lambda c: neighbours(c.environment, 1000 if wide else NARROW) + (not wide) * _unfinished(c),
        "BVS": lambda c: valences(c.bond_valence_sum),
        "agree": lambda c: f"{c.count}/{result.n_valid}",
    }


def _columns_of_crystal(result: InpaintResult) -> dict[str, Callable[[Candidate], str]]:
    best = result.candidates[0].ranking_energy
    return {
        "rank": lambda c: str(c.rank),
        "energy\neV/atom": lambda c: number(c.ranking_energy, 4),
        "above best\nmeV/atom": lambda c: _above(c.ranking_energy, best),
        "max force\neV/A": lambda c: number(c.max_force, 2),
        "min distance\nA": lambda c: number(c.min_distance, 2),
        "space\ngroup": lambda c: c.spacegroup or "",
        "samples\nthat agree": lambda c: f"{c.count}/{result.n_valid}",
    }


def _footer(result: InpaintResult) -> str:
    text = f"{result.n_drawn} samples drawn, {result.n_invalid} impossible ({100 * result.invalid_rate:.1f} %)"
    if result.reasons:
        reason, count = next(iter(result.reasons.items()))
        text += f", most often {reason} ({count})"
    if result.confidence is not None:
        first, most = result.candidates[0].count, max(candidate.count for candidate in result.candidates)
        agree = f"{first} of {result.n_valid} agree" + (f", {most} on another" if most > first else "")
        text += f"; first candidate correct for {100 * result.confidence:.0f} % of similar known hosts ({agree})"
    return f"{text}; {sum(result.seconds.values()):.1f} s"


def _above(energy: float | None, best: float | None, atoms: float = 1.0) -> str:
    """Difference in meV of so many atoms."""
    return "-" if energy is None or best is None else f"{1000 * atoms * (energy - best):.0f}"


def _steps(candidate: Candidate) -> str:
    """Number of relaxation steps, followed by the outcome unless it converged."""
    if candidate.relaxed is None:
        return "-"
    outcome = "" if candidate.relaxed.outcome == "converged" else f" {candidate.relaxed.outcome}"
    return f"{candidate.relaxed.steps}{outcome}"


def _unfinished(candidate: Candidate) -> str:
    """A line that says that the relaxation did not converge."""
    moved = candidate.relaxed
    return "" if moved is None or moved.outcome == "converged" else f"\n(relaxation {moved.outcome})"


def counted(values: Sequence[object]) -> str:
    """('8a', '8a', '16c') -> '8a x2, 16c'."""
    counts = Counter(str(value) for value in values)
    return ", ".join(value if count == 1 else f"{value} x{count}" for value, count in counts.items())
