"""Which archive a path means, wherever one is read."""

from __future__ import annotations

from pathlib import Path

from inpaint_hpc.errors import InputError


def archive_of(path: Path) -> Path:
    """A file itself, the archive of a run directory, or that of the run in the folder of a benchmark or the demo.

    Raises:
        InputError: a folder without a run, or a run without an archive.
    """
    if not path.is_dir():
        return path
    run = next((place for place in (path, path / "run") if (place / "campaign.json").exists()), None)
    if run is None:
        if (path / "archive.h5").exists():
            return path / "archive.h5"
        raise InputError(f"{path}: is a folder without an archive or a run; give an archive or a run directory")
    if not (run / "archive.h5").exists():
        raise InputError(
            f"{run}: has no archive yet; `inpaint-hpc status {run}` shows the progress of a run, and "
            f"`inpaint-hpc collect {run}` makes an archive of its results"
        )
    return run / "archive.h5"
