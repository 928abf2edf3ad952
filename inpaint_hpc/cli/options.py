"""Options shared by several verbs, and the parsing of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from inpaint_hpc.errors import InputError

FORMATS = ("cif", "poscar", "extxyz", "json")
# As `pipeline.settings.RELAX` and `scoring.chgnet.models.CHGNET_WEIGHTS`, which would import torch.
RELAX = ("none", "guests", "positions", "cell")
CHGNET = ("0.3.0", "0.2.0", "r2scan")


_LEVEL = click.FloatRange(min=0, min_open=True)
NOISE_OPTIONS = (
    click.option("--sigma-max", type=_LEVEL, metavar="A", help="Largest noise level (A).  [default: the trained one]"),
    click.option("--sigma-min", type=_LEVEL, metavar="A", help="Smallest noise level (A).  [default: the trained one]"),
)


def noise_levels(options: dict[str, Any]) -> dict[str, Any]:
    """Values of `NOISE_OPTIONS` that were given, as keyword arguments of `SamplingSettings`."""
    return {name: options[name] for name in ("sigma_max", "sigma_min") if options[name] is not None}


def sampling_options(command: Callable) -> Callable:
    """Options of sampling, scoring and output."""
    options = [
        click.option("--samples", default=16, show_default=True, help="Valid samples per host or composition."),
        click.option("--steps", default=40, show_default=True, help="Network evaluations per sample."),
        click.option(
            "--sampler",
            type=click.Choice(["ancestral", "predictor-corrector", "heun", "dpm-solver"]),
            default="ancestral",
            show_default=True,
            help="Integrator of the reverse diffusion.",
        ),
        *NOISE_OPTIONS,
        click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same samples."),
        click.option(
            "--redraws",
            default=3,
            show_default=True,
            help="Maximum rounds of resampling for physically impossible samples.",
        ),
        click.option("--no-score", is_flag=True, help="Do not use CHGNet; rank by agreement between samples."),
        click.option(
            "--relax",
            type=click.Choice(RELAX),
            default="none",
            show_default=True,
            help="What to relax with CHGNet before ranking: guests in the frozen host, all positions, or the cell too.",
        ),
        click.option(
            "--top-k", type=click.IntRange(min=1), metavar="K", help="Relax only the K most promising candidates."
        ),
        click.option(
            "--fmax",
            default=0.05,
            show_default=True,
            help="Largest force at which a structure counts as relaxed, eV/A.",
        ),
        click.option("--relax-steps", default=500, show_default=True, help="Maximum number of relaxation steps."),
        click.option("--chgnet", type=click.Choice(CHGNET), default="0.3.0", show_default=True, help="CHGNet weights."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Torch device; auto uses a GPU if there is one.",
        ),
        click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file."),
        click.option("--edge-budget", type=int, help="Maximum graph edges per batch; limits memory."),
        click.option("--out", metavar="DIR", help="Folder for structures and results.json."),
        click.option(
            "--format",
            type=click.Choice(FORMATS),
            default="cif",
            show_default=True,
            help="Format of the structure files.",
        ),
        click.option(
            "--top", type=click.IntRange(min=1), metavar="N", help="Show and write only the N best candidates."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def archive_option(command: Callable) -> Callable:
    """`--archive`, of verbs that write an archive beside everything else."""
    return click.option(
        "--archive",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.h5",
        callback=_archive_path,
        help="Also write all results to one archive, replacing an archive of this name.",
    )(command)


def _archive_path(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Before anything is computed: only an archive is replaced by an archive."""
    if path is not None and path.suffix.lower() not in (".h5", ".hdf5"):
        raise InputError(f"--archive {path}: an archive is called FILE.h5")
    if path is not None and path.exists():
        from inpaint_hpc.archive.storage import open_file

        open_file(path).close()
    return path


def parse_guests(values: Sequence[str]) -> dict[str, int]:
    """('Li=4', 'Na') -> {'Li': 4, 'Na': 1}; counts of an element given twice are added.

    Raises:
        InputError: a count is not a whole number, or a name is missing.
    """
    guests: dict[str, int] = {}
    for value in values:
        element, equals, count = (part.strip() for part in value.partition("="))
        if not element or (equals and not count.isdecimal()):
            raise InputError(f"cannot read --guest '{value}': write it like Li=4, or Li for one")
        guests[element] = guests.get(element, 0) + (int(count) if equals else 1)
    return guests


def choose_device(name: str) -> str:
    """'auto' -> 'cuda' if available, else 'cpu', which is said where there are GPUs.

    Raises:
        InputError: CUDA was requested but is not available.
    """
    import torch

    if name not in ("auto", "cuda"):
        return name
    if torch.cuda.is_available():
        return "cuda"
    from inpaint_hpc.gpus import gpus_here

    notes = gpus_here().notes
    if name == "cuda":
        raise InputError("; ".join(("no CUDA device is available to torch", *notes, "use --device cpu")))
    for note in notes:
        click.echo(f"on the CPU: {note}", err=True)
    return "cpu"


def require_device(name: str | None) -> None:
    """Refuse a device that is not here before anything is written.

    Raises:
        InputError: as `choose_device`.
    """
    if name == "cuda":
        choose_device(name)


def sampling_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Command line options as keyword arguments of the pipeline."""
    names = ["samples", "steps", "sampler", "seed", "redraws", "edge_budget"]
    names += ["relax", "top_k", "fmax", "relax_steps", "chgnet"]
    return {"score": not options["no_score"], **noise_levels(options), **{name: options[name] for name in names}}
