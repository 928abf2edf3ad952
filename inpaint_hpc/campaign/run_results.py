"""Results of run directories for the archive's verbs: listing the files and merging them (docs/campaign.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inpaint_hpc.archive.collect import CollectReport, Progress, collect
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.provenance import provenance_of_file

from .run_directory import RunDirectory


def collect_run(run: RunDirectory) -> CollectReport:
    """Merge the results of a run into its archive.

    Raises:
        InputError, OSError: as `collect_inputs`.
    """
    return collect_inputs([run.path], run.archive_path)


def collect_inputs(
    inputs: Sequence[str | Path], out: Path, strict: bool = False, progress: Progress | None = None
) -> CollectReport:
    """Merge results of run directories, result files and archives into one archive.

    An archive of one run has the run's id, weights and configuration.  Missing tasks are reported if all inputs are run
    directories.

    Args:
        inputs: run directories and files.
        out, strict, progress: as for `collect`.

    Raises:
        InputError: a folder that is not a run directory, a damaged one, or as `collect`.
        OSError: the archive cannot be written.
    """
    paths = [Path(path) for path in inputs]
    runs = {path: RunDirectory(path) for path in paths if path.is_dir()}
    files = [file for path in paths for file in (runs[path].files_of_results() if path in runs else [path])]
    expected = np.concatenate([run.task_ids() for run in runs.values()]) if runs and len(runs) == len(paths) else None
    attributes = next(iter(runs.values())).archive_attributes() if len(runs) == 1 else {}
    return collect(files, out, attributes, expected, strict, progress, provenance_of_file)


def files_of(inputs: Sequence[str | Path]) -> list[Path]:
    """Result files and archives of run directories; files are passed through.

    Raises:
        InputError: a folder that is not a run directory, or one without any result.
    """
    found: list[Path] = []
    for path in map(Path, inputs):
        files = [path]
        if path.is_dir():
            run = RunDirectory(path)
            files = [*run.files_of_results(), *([run.archive_path] if run.archive_path.exists() else [])]
            if not files:
                raise InputError(f"{path}: has no results yet")
        found += files
    return found
