"""Files of a benchmark's results: rows of tasks, a summary, a table for a paper, figures."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.environment import available_cores
from inpaint_hpc.files import atomic_path
from inpaint_hpc.sampling.settings import SamplingSettings

from .figures import write_figures
from .score import ScoredTask, summary

TITLES = {
    "one_sample": "one sample",
    "top1": "first",
    "match_strict": "match 0.2/0.2",
    "match_default": "match 0.2/0.3",
    "match_loose": "match 0.3/0.5",
    "any_k": "any",
    "les": "LES",
    "chance": "chance",
}


def rows_of(scored: Sequence[ScoredTask], by: str, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`summary` with the network evaluations of a sample, `nfe`, from an archive's attributes."""
    sampling = (attributes.get("configuration") or {}).get("sampling")
    nfe = SamplingSettings(**sampling).nfe if sampling else None
    return [{**row, "nfe": nfe} for row in summary(scored, by)]


def document_of(
    scored: Sequence[ScoredTask], rows: Sequence[dict[str, Any]], attributes: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Everything, as JSON: `more`, the weights, the rows of the summary by group, and those of the tasks.

    Also the rows by the host's main anion, and by the distance from the training data: null where it is not known.
    """
    near = all(one.training_distance is not None for one in scored)
    return {
        **more,
        "weights_sha256": attributes.get("weights_sha256"),
        "summary": {row["group"]: row for row in rows},
        "by_anion": {row["group"]: row for row in summary(scored, "anion")},
        "by_training_distance": {row["group"]: row for row in summary(scored, "training_range")} if near else None,
        "tasks": [one.row() for one in scored],
    }


def write_csv(path: Path, scored: Sequence[ScoredTask]) -> None:
    """One row for each task; columns are those of all rows."""
    table = [one.row() for one in scored]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in table for name in row)))
        writer.writeheader()
        writer.writerows(table)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """The document, readable."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_results(
    folder: Path, scored: Sequence[ScoredTask], document: Mapping[str, Any], workers: Iterable[Path] = ()
) -> None:
    """Write tasks.csv, tasks.parquet (with pyarrow), summary.json, table.md and figures.

    The figure of the distance from the training data is left out where that is not known.

    Args:
        folder: is made if need be.
        scored: the tasks.
        document: of `document_of`.
        workers: files that workers of the campaign leave of themselves.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "tasks.csv", scored)
    if find_spec("pyarrow") is not None:
        table = pd.DataFrame(document["tasks"])
        for name in table.columns:  # columns of the source that hold numbers and texts, as files of JSON may
            if pd.api.types.infer_dtype(table[name], skipna=True) in ("mixed", "mixed-integer"):
                table[name] = table[name].map(str, na_action="ignore")
        table.to_parquet(folder / "tasks.parquet", index=False)
    rest = {name: value for name, value in document.items() if name != "tasks"}
    seconds = sum(one.seconds for one in scored)
    write_json(folder / "summary.json", {"inpaint_hpc": __version__, **rest, "hardware": _hardware(workers, seconds)})
    (folder / "table.md").write_text(markdown(list(document["summary"].values()), document["by"]), encoding="utf-8")
    write_figures(folder, scored)


def markdown(rows: Sequence[Mapping[str, Any]], by: str) -> str:
    """The summary as a table in Markdown."""
    shares = [name for name in TITLES if all(name in row for row in rows)]
    first = "guests" if by == "guest_range" else by
    lines = [
        f"| {first} | hosts | " + " | ".join(TITLES[name] for name in shares) + " | RMSD (A) |",
        "|---|" + "---:|" * (len(shares) + 2),
    ]
    for row in rows:
        rmsd = row["guest_rmsd_median"]
        cells = [row["group"], str(row["hosts"]), *(percent(row, name) for name in shares)]
        lines.append("| " + " | ".join([*cells, "" if rmsd is None else f"{rmsd:.3f}"]) + " |")
    return "\n".join(lines) + "\n"


def percent(row: Mapping[str, Any], name: str) -> str:
    """A share and its interval, e.g. '90 % (82-96)'."""
    mean, low, high = (100 * row[name + end] for end in ("", "_low", "_high"))
    digits = 1 if name == "chance" else 0  # mostly below one per cent
    return f"{mean:.{digits}f} % ({low:.{digits}f}-{high:.{digits}f})"


def _hardware(workers: Iterable[Path], seconds: float) -> dict[str, Any]:
    """What the campaign ran on, without names of machines."""
    known = []
    for path in workers:
        try:
            known.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # a worker's file that was being written when it died
            continue
    return {
        "cores": available_cores(),
        "processor": _processor(),
        "devices": sorted({_device(str(one.get("device", ""))) for one in known} - {""}),
        "nodes": len({one.get("host") for one in known}) or None,
        "workers": len(known) or None,
        "threads": max((one.get("threads") or 0 for one in known), default=None),
        "task_seconds": round(seconds, 3),
    }


def _device(name: str) -> str:
    if name.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name())
    return name


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
