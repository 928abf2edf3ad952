"""`inpaint-hpc train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Continue exactly from the checkpoint in the run directory.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Packed HDF5 file of training data; overrides the configuration."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; overrides the configuration.")
@click.option("--steps", type=click.IntRange(min=1), help="Training budget in steps; overrides the configuration.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Training budget in minutes; overrides the configuration.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
def train(
    config: Path,
    resume: bool,
    data: Path | None,
    out: Path | None,
    steps: int | None,
    minutes: float | None,
    device: str,
) -> None:
    """Train a score network by denoising score matching, as configured in CONFIG (YAML).

    Writes to the run directory: checkpoint.pt, model.safetensors with its card model.json (averaged weights),
    train.csv and validation.csv.  SIGTERM or SIGUSR1 ends the run cleanly with a checkpoint.  To use several
    GPUs or CPU cores: torchrun --nproc-per-node N -m inpaint_hpc train CONFIG.
    """
    from inpaint_hpc.errors import InputError
    from inpaint_hpc.training.config import load_config

    if steps and minutes:
        raise InputError("give --steps or --minutes, not both")
    paths = {"data": data, "out": out}
    overrides: dict[str, Any] = {key: value for key, value in paths.items() if value is not None}
    if steps or minutes:
        overrides |= {"steps": steps, "minutes": minutes}
    settings = load_config(config, overrides)
    from inpaint_hpc.training.loop import Trainer

    if int(os.environ.get("RANK", "0")):
        Trainer(settings, resume, device).run()
        return
    from inpaint_hpc.cli.progress import TrainingProgress

    with TrainingProgress() as progress:
        trainer = Trainer(settings, resume, device, progress.update)
        progress.start(len(trainer.data), trainer.progress())
        record = trainer.run()
    if record:
        click.echo(f"step {record['step']}, {record['minutes']:g} min, validation loss {record['loss']:.4f}")
    click.echo(f"weights: {trainer.out / 'model.safetensors'}")
