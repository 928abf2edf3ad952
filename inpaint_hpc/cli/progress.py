"""Progress of long jobs: a bar on a terminal, otherwise an occasional line; always on stderr."""

from __future__ import annotations

import sys
import time


class TrainingProgress:
    """Shows step, loss, structures per second and remaining time of a training run."""

    def __init__(self) -> None:
        """Make the bar, which appears on entering."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            TextColumn("{task.percentage:5.1f} %"),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.last_line = 0.0

    def __enter__(self) -> TrainingProgress:
        """Start to show the bar."""
        self.bar.start()
        self.task = self.bar.add_task("train", total=1.0, text="")
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave the bar as it is."""
        self.bar.stop()

    def start(self, crystals: int, done: float) -> None:
        """Show the number of crystals and the progress so far."""
        self.bar.update(self.task, completed=done, text=f"{crystals} crystals")

    def update(self, step: int, loss: float, rate: float, done: float, to_go: float) -> None:
        """Called by the trainer at intervals."""
        minutes = f"{to_go / 60:.1f} min to go"
        text = f"step {step}  loss {loss:.4f}  {rate:.1f} structures/s  {minutes}"
        self.bar.update(self.task, completed=done, text=text)
        if not sys.stderr.isatty() and time.monotonic() - self.last_line > 30:
            self.last_line = time.monotonic()
            print(f"{100 * done:5.1f} %  {text}", file=sys.stderr, flush=True)
