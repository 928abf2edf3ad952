"""`inpaint-hpc resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inpaint_hpc.cli.run import finish, resource_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--no-verify", is_flag=True, help="Trust names and sizes of result files instead of their checksums.")
@resource_options
def resume(run: Path, no_verify: bool, **options: Any) -> int:
    """Go on with a campaign, whatever stopped it.

    RUN is a run directory.  Results that are damaged are moved to RUN/damaged and done again; what dead drivers of this
    run left running on this machine is ended.  Exit status as of `inpaint-hpc run`.
    """
    from inpaint_hpc.campaign.run_directory import RunDirectory

    return finish(RunDirectory(run), verify=not no_verify, **options)
