"""What a report can be made of: an archive, a run directory, or the JSON document of a single call."""

from __future__ import annotations

from pathlib import Path

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.errors import InputError

from .contents import Contents, archive_contents


def source_contents(path: Path, top: int | None = None) -> Contents:
    """Contents of the report of a path.

    Args:
        path: archive, run directory or results.json.
        top: as of `archive_contents`.

    Raises:
        InputError: nothing that can be read, or no tasks in it.
    """
    if path.is_dir():
        archive = RunDirectory(path).archive_path
        if not archive.exists():
            raise InputError(f"{path}: no archive yet; `inpaint-hpc collect {path}` makes one")
        path = archive
    with Archive(path) as opened:
        return archive_contents(opened, top)
