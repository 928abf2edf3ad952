"""`inpaint-hpc init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", default="campaign.yaml", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(file: Path, force: bool) -> None:
    """Write a commented campaign configuration to FILE (campaign.yaml by default; '-' is stdout).

    It can be run unchanged, on MnO2 structures that come with the package.
    """
    from inpaint_hpc.campaign.config_template import EXAMPLE
    from inpaint_hpc.errors import InputError
    from inpaint_hpc.files import atomic_path

    if str(file) == "-":
        click.echo(EXAMPLE, nl=False)
        return
    if file.exists() and not force:
        raise InputError(f"{file}: exists already; give another name, or add --force to replace it")
    with atomic_path(file) as temporary:
        temporary.write_text(EXAMPLE, encoding="utf-8")
    click.echo(f"{file}: edit it, then `inpaint-hpc plan {file}` and `inpaint-hpc run {file}`")
