"""`inpaint-hpc pack`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_SHOWN_ERRORS = 20


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Packed file to write (.h5)."
)
@click.option("--max-atoms", type=click.IntRange(min=1), help="Leave out crystals with more atoms than this.")
@click.option(
    "--val-modulus",
    type=click.IntRange(min=2),
    default=50,
    show_default=True,
    metavar="N",
    help="One in N reduced formulas goes to the validation part.",
)
@click.option("--keep-going", is_flag=True, help="Leave out what cannot be read and list it at the end.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--title", help="What the file contains (stored in it).")
@click.option("--source", help="Where the crystals come from (stored in the file).")
@click.option("--licence", help="Licence of the crystals, e.g. 'CC BY 4.0'.")
@click.option("--citation", help="Publication to cite.")
def pack(
    inputs: tuple[str, ...],
    out: Path,
    max_atoms: int | None,
    val_modulus: int,
    keep_going: bool,
    overwrite: bool,
    **attributes: str | None,
) -> None:
    """Pack crystals into one HDF5 file, for training or as hosts.

    INPUTS are files (CIF, POSCAR, pymatgen JSON, packed HDF5, anything ASE reads), folders, or quoted patterns;
    FILE::SELECTION selects part of a file.  The format is described in docs/packed-format.md.
    """
    from inpaint_hpc.crystals.conversion import pack_files
    from inpaint_hpc.errors import InputError

    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; add --overwrite to replace it")
    given = {key: value for key, value in attributes.items() if value}
    with _Bar() as bar:
        report = pack_files(inputs, out, max_atoms, val_modulus, keep_going, given, bar.update)
    for line in report.errors[:_SHOWN_ERRORS]:
        click.echo(f"left out: {line}", err=True)
    if len(report.errors) > _SHOWN_ERRORS:
        click.echo(f"left out: {len(report.errors) - _SHOWN_ERRORS} more", err=True)
    notes = [f"{report.train} train", f"{report.validation} validation"]
    if report.too_large:
        notes.append(f"{report.too_large} larger than {max_atoms} atoms left out")
    if report.errors:
        notes.append(f"{len(report.errors)} unusable left out")
    click.echo(f"{out}: {report.train + report.validation} crystals ({', '.join(notes)})")


class _Bar:
    """Progress over the input files, shown only on a terminal."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import Progress

        self.progress = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self.task = self.progress.add_task("reading", total=None)
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)
