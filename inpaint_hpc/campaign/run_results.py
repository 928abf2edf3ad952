"""What the archive's verbs are given: result files, archives and run directories (docs/campaign.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.archive.collect import task_ids
from inpaint_hpc.archive.storage import readable
from inpaint_hpc.errors import InputError


@dataclass(frozen=True)
class CollectInputs:
    """What `collect` takes.

    Attributes:
        files: result files and archives.
        expected: ids of the tasks of all run directories, 'S64'; None if there are also files without a run.
        attributes: see `run_attributes`; empty unless there is one run only.
    """

    files: list[Path]
    expected: np.ndarray | None
    attributes: dict[str, Any]


def inputs_of(inputs: Sequence[str | Path]) -> CollectInputs:
    """Result files of run directories and files as they are.

    Raises:
        InputError: a folder that is not a run directory, or a damaged run directory.
    """
    paths = [Path(path) for path in inputs]
    runs = [path for path in paths if path.is_dir()]
    files = [file for path in paths for file in (result_files(path) if path in runs else [path])]
    expected = np.concatenate([expected_tasks(run) for run in runs]) if runs and len(runs) == len(paths) else None
    return CollectInputs(files, expected, run_attributes(runs[0]) if len(runs) == 1 else {})


def files_of(inputs: Sequence[str | Path]) -> list[Path]:
    """Result files and archives of run directories, and files as they are.

    Raises:
        InputError: a folder that is not a run directory, or one without any result.
    """
    found: list[Path] = []
    for path in map(Path, inputs):
        files = [path]
        if path.is_dir():
            archive = path / "archive.h5"
            files = [*result_files(path), *([archive] if archive.exists() else [])]
            if not files:
                raise InputError(f"{path}: has no results yet")
        found += files
    return found


def result_files(run: str | Path) -> list[Path]:
    """Result files of a run directory, in the order of shards and of tasks within them.

    Raises:
        InputError: not a run directory.
    """
    run = Path(run)
    if not (run / "campaign.json").exists():
        raise InputError(f"{run}: is a folder without campaign.json, not a run directory")
    return sorted((run / "results").glob("*/shard-*.h5"), key=lambda path: (*_place(path), path.name))


def expected_tasks(run: str | Path) -> np.ndarray:
    """Ids of all tasks of a run directory, from its tasks.h5, dtype 'S64'.

    Raises:
        InputError: tasks.h5 is missing or not readable.
    """
    import h5py

    path = Path(run) / "tasks.h5"
    if not path.exists():
        raise InputError(f"{path}: is missing; the run directory is damaged")
    with readable(path), h5py.File(path, "r", locking=False) as file:
        return task_ids(file["id"][:])


def run_attributes(run: str | Path) -> dict[str, Any]:
    """What a run directory says and its archive should say as well, since it may outlive the run directory.

    Returns:
        `campaign` (its id), `weights_name` and `weights_sha256` of campaign.json, and `config_yaml`, the text of
        config.yaml.

    Raises:
        InputError: campaign.json is missing or not readable.
    """
    path = Path(run) / "campaign.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weights = content.get("weights") or {}
        known = {"campaign": content.get("campaign")}
        known |= {f"weights_{name}": weights.get(name) for name in ("name", "sha256")}
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {run} is not a run directory") from error
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: not readable, truncated or not JSON") from error
    configuration = Path(run) / "config.yaml"
    if configuration.exists():
        known["config_yaml"] = configuration.read_text(encoding="utf-8", errors="replace")
    return {name: value for name, value in known.items() if isinstance(value, str)}


def _place(path: Path) -> tuple[int, int]:
    """Shard and first task of shard-000017.8-16.h5."""
    shard, _, part = path.stem.removeprefix("shard-").partition(".")
    first = part.split("-")[0]
    return (int(shard) if shard.isdecimal() else -1, int(first) if first.isdecimal() else 0)
