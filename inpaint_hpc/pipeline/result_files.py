"""Results as files and as one JSON document (schema: docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.writing import FORMATS, safe_name, write_structure
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .results import InpaintResult

SCHEMA = "1.1"


def write_candidates(
    results: Sequence[InpaintResult], folder: str | Path, format: str = "cif", top: int | None = None
) -> list[list[Path]]:
    """Write structures to FOLDER/<host>/rank-000.cif and so on, and return their paths for each result.

    Rank files of an earlier run are removed from these folders, so that the files there belong together.

    Args:
        results: of any hosts; results with the same host name get separate folders, `name-2` ...
        folder: made if missing.
        format: a key of `FORMATS`.
        top: number of best candidates to write; all by default.

    Raises:
        InputError: unknown format.
        OSError: the folder cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format '{format}'; choose one of {', '.join(FORMATS)}")
    written: list[list[Path]] = []
    for name, result in zip(folder_names(results), results, strict=True):
        place = Path(folder) / name
        for suffix in FORMATS.values():
            for stale in place.glob(f"rank-[0-9][0-9][0-9]{suffix}"):
                stale.unlink()
        paths = [
            write_structure(result.crystal(rank), place / f"rank-{rank:03d}{FORMATS[format]}", format)
            for rank in range(len(result))[:top]
        ]
        written.append(paths)
    return written


def folder_names(results: Sequence[InpaintResult | Crystal]) -> list[str]:
    """A unique folder name for each result or host, even on file systems that ignore case."""
    seen: dict[str, int] = {}
    names = []
    for result in results:
        name = safe_name(result.name)
        count = seen[name.lower()] = seen.get(name.lower(), 0) + 1
        while count > 1 and f"{name}-{count}".lower() in seen:
            count += 1
        unique = name if count == 1 else f"{name}-{count}"
        seen.setdefault(unique.lower(), 1)
        names.append(unique)
    return names


def document(
    command: str,
    results: Sequence[InpaintResult],
    seconds: float,
    files: Sequence[Sequence[Path]] = (),
    top: int | None = None,
) -> dict[str, Any]:
    """Everything about results of one call as plain data.

    Args:
        command: the verb.
        results: all made with the same settings and weights; may be empty.
        seconds: wall time of the whole call.
        files: what `write_candidates` returned; empty when nothing was written.
        top: number of best candidates of each result.
    """
    hosts = []
    for index, result in enumerate(results):
        entry = result.as_dict()
        entry["candidates"] = entry["candidates"][:top]
        paths = files[index] if files else []
        for candidate in entry["candidates"]:
            rank = candidate["rank"]
            candidate["file"] = str(paths[rank]) if rank < len(paths) else None
        hosts.append(entry)
    return {
        "schema": SCHEMA,
        "command": command,
        "version": __version__,
        "weights": dict(results[0].weights) if results else {},
        "settings": dict(results[0].settings) if results else {},
        "seconds": seconds,
        "hosts": hosts,
    }


def to_json(content: dict[str, Any]) -> str:
    """As JSON text without NaN, which JSON does not have."""
    return json.dumps(content, indent=2, allow_nan=False)


def write_json(content: dict[str, Any], path: str | Path) -> Path:
    """Write a document atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(to_json(content) + "\n", encoding="utf-8")
    return Path(path)
