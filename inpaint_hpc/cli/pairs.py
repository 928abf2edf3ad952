"""`inpaint-hpc pairs`."""

from __future__ import annotations

import time
from pathlib import Path

import click

_AT_ONCE = {
    "cpu": 64,
    "cuda": 4096,
}  # crystals relaxed between two writes of the file; a GPU is most efficient with all at once


@click.command()
@click.argument("packed", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File of pairs to write (.h5)."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use only N crystals, chosen by hash of their ids."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Start no more relaxations after this many minutes."
)
@click.option(
    "--max-atoms",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    help="Maximum number of atoms in the filled crystal.",
)
@click.option(
    "--include", type=click.Path(path_type=Path, dir_okay=False), help="Include the pairs in this file, first."
)
@click.option("--without", metavar="COLUMN", help="Leave out crystals for which this column of PACKED is not 0.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Maximum number of relaxation steps.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Number of CPU threads.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def pairs(
    packed: Path,
    out: Path,
    limit: int | None,
    minutes: float | None,
    max_atoms: int,
    include: Path | None,
    without: str | None,
    steps: int,
    device: str,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Make electrode pairs for training: remove the ions from crystals and relax the empty hosts with CHGNet.

    Uses the training crystals in PACKED that contain one of Li, Na, K, Mg, Ca, Zn, Al, a transition metal and an anion.
    The file is rewritten every 64 crystals (4096 on a GPU), so an interruption loses at most the last batch.
    """
    from inpaint_hpc.errors import InputError

    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; add --overwrite to replace it")
    from inpaint_hpc.cli.options import choose_device
    from inpaint_hpc.crystals.packed import PackedDataset, hash_order, read_electrodes
    from inpaint_hpc.crystals.packed_writing import write_electrodes
    from inpaint_hpc.training.electrode_pairs import PairReport, candidates, deintercalated_pairs

    device = choose_device(device)
    known = read_electrodes(include) if include else []
    crystals = PackedDataset(packed, "train", max_atoms)
    if without is not None and without not in crystals.columns:
        raise InputError(f"{packed}: has no column '{without}'; it has {', '.join(sorted(crystals.columns))}")
    usable = (crystal for crystal in crystals if without is None or not crystal.info[without])
    chosen = hash_order(candidates(usable, max_atoms), lambda found: found[0].name)[:limit]
    if not chosen:
        raise InputError(f"{packed}: no training crystal of at most {max_atoms} atoms could be an electrode")
    if threads:
        import torch

        torch.set_num_threads(threads)
    report, made, start = PairReport(), [], time.monotonic()
    source = f"ions taken out of crystals of {packed.name}, hosts relaxed by CHGNet, at most {steps} steps"
    attributes = {"title": "electrode pairs made from filled crystals", "source": source}
    for first in range(0, len(chosen), _AT_ONCE[device]):
        if minutes is not None and time.monotonic() - start > 60 * minutes:
            break
        part = chosen[first : first + _AT_ONCE[device]]
        made += deintercalated_pairs(part, steps=steps, device=device, report=report)
        if known or made:
            write_electrodes(out, [*known, *made], attributes)
        rate = (first + len(part)) / (time.monotonic() - start)
        click.echo(f"{first + len(part)} of {len(chosen)} crystals, {rate:.1f} a second", err=True)
    if not (known or made):
        raise InputError(f"no pair could be made of {len(chosen)} crystals: {report.diverged} hosts diverged, "
                         f"{report.changed} became another framework")  # fmt: skip
    notes = f"{report.diverged} hosts diverged, {report.changed} became another framework"
    before = f"{len(known)} pairs of {include.name} and " if include else ""
    click.echo(f"{out}: {before}{report.made} new ones; {notes}")
