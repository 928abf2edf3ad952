"""Checks that a result file is intact and belongs to a campaign, and counts its contents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from inpaint_hpc.errors import InputError


def result_problem(path: Path, info: Mapping[str, Any]) -> str | None:
    """What is wrong with a result file, in one line that names it; None if nothing is.

    Args:
        path: the file; read completely.
        info: campaign.json of the campaign that it should belong to.
    """
    from inpaint_hpc.archive.storage import attributes_of, open_file, verify_checksum

    try:
        verify_checksum(path)
        with open_file(path) as file:
            attributes = attributes_of(file)
    except InputError as error:
        return str(error)
    theirs, ours = str(attributes.get("weights_sha256", "unknown")), info["weights"]["sha256"]
    if theirs != ours:
        return f"{path}: made with other weights ({theirs[:12]}) than this campaign's ({ours[:12]})"
    if attributes.get("campaign") != info["campaign"]:
        return f"{path}: belongs to another campaign ({str(attributes.get('campaign', 'unknown'))[:12]})"
    return None


class ResultCounts(TypedDict):
    """Tasks, samples (possible ones), invalid (the others) and failed of a result file."""

    tasks: int
    samples: int
    invalid: int
    failed: int


def result_counts(path: Path) -> ResultCounts:
    """What a result file holds.

    Raises:
        InputError: not readable.
    """
    from inpaint_hpc.archive.storage import open_file, readable

    with open_file(path) as file, readable(path):
        valid = file["samples/valid"][:]
        return {
            "tasks": len(file["tasks/id"]),
            "samples": int(valid.sum()),
            "invalid": int(len(valid) - valid.sum()),
            "failed": len(file["failures/task"]),
        }
