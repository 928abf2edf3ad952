"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from inpaint_hpc.errors import InputError

FORMATS = ("cif", "poscar", "extxyz", "json")
# As `pipeline.settings.RELAX` and `scoring.chgnet.models.CHGNET_WEIGHTS`, which would import torch.
RELAX = ("none", "guests", "positions", "cell")
CHGNET = ("0.3.0", "0.2.0", "r2scan")


def sampling_options(command: Callable) -> Callable:
    """Options of sampling, scoring and output."""
    options = [
        click.option("--samples", default=16, show_default=True, help="Valid samples wanted of each host."),
        click.option("--steps", default=40, show_default=True, help="Network evaluations per sample."),
        click.option(
            "--sampler",
            type=click.Choice(["ancestral", "predictor-corrector", "heun", "dpm-solver"]),
            default="ancestral",
            show_default=True,
        ),
        click.option("--seed", default=0, show_default=True, help="Same seed and weights, same samples."),
        click.option("--redraws", default=3, show_default=True, help="Times impossible samples are drawn again."),
        click.option("--no-score", is_flag=True, help="Without CHGNet: rank by agreement of samples."),
        click.option(
            "--relax",
            type=click.Choice(RELAX),
            default="none",
            show_default=True,
            help="Relax in CHGNet's forces, then rank: guests in the frozen host, all positions, or the cell too.",
        ),
        click.option("--top-k", type=click.IntRange(min=1), help="Relax only the most promising so many."),
        click.option("--fmax", default=0.05, show_default=True, help="Relaxed when no force is larger, eV/A."),
        click.option("--relax-steps", default=500, show_default=True, help="Most steps of a relaxation."),
        click.option("--chgnet", type=click.Choice(CHGNET), default="0.3.0", show_default=True, help="CHGNet weights."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option("--weights", metavar="NAME|PATH", help="Packaged weights or a .safetensors file."),
        click.option("--edge-budget", type=int, help="Graph edges per batch, the measure of its memory."),
        click.option("--out", metavar="DIR", help="Where structures go."),
        click.option("--format", type=click.Choice(FORMATS), default="cif", show_default=True),
        click.option("--top", type=click.IntRange(min=1), help="Show and write only the best so many candidates."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout and nothing else."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def parse_guests(values: Sequence[str]) -> dict[str, int]:
    """('Li=4', 'Na') -> {'Li': 4, 'Na': 1}; an element given twice is added up.

    Raises:
        InputError: a count that is not a whole number, or no name.
    """
    guests: dict[str, int] = {}
    for value in values:
        element, equals, count = (part.strip() for part in value.partition("="))
        if not element or (equals and not count.isdecimal()):
            raise InputError(f"cannot read --guest '{value}': write it like Li=4, or Li for one")
        guests[element] = guests.get(element, 0) + (int(count) if equals else 1)
    return guests


def choose_device(name: str) -> str:
    """'auto' -> 'cuda' where there is one, else 'cpu'.

    Raises:
        InputError: CUDA asked for but not there.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is available to torch; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def sampling_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Command line options as keyword arguments of the pipeline."""
    names = ("samples", "steps", "sampler", "seed", "redraws", "edge_budget")
    names += ("relax", "top_k", "fmax", "relax_steps", "chgnet")
    return {"score": not options["no_score"], **{name: options[name] for name in names}}
