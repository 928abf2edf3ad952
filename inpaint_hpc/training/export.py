"""From a training run to weights with a model card."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import WeightsInfo, file_digest, save_weights

_DIGESTS: dict[Path, str] = {}


def export_weights(average: dict[str, torch.Tensor], path: Path, card: dict[str, Any]) -> WeightsInfo:
    """Write weights with a card: the description of the run, and where and when it was written.

    Args:
        average: the weights by name.
        path: of the safetensors file; the card lies beside it.
        card: of the run, `Trainer.card`.
    """
    written = {
        "commit": _commit(),
        "versions": {name: version(name) for name in ("torch", "e3nn", "numpy")},
        "created": datetime.now(UTC).date().isoformat(),
        "licence": "MIT (weights); training data CC BY 4.0, see `data`",
    }
    return save_weights(average, path, {"name": path.stem, **card, **written})


def restore_weights(run: Path) -> None:
    """Write a missing `model.safetensors` of a run, from the checkpoint and the card beside it.

    Raises:
        InputError: they would not be the weights that the card describes.
    """
    card = json.loads((run / "model.json").read_text(encoding="utf-8"))
    average = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    if save_weights(average, run / "model.safetensors", card).sha256 != card["sha256"]:
        raise InputError(f"{run}: the card model.json is not that of checkpoint.pt; run the slice again")


def data_digest(path: Path) -> str:
    """sha256 of a data file, read once."""
    if path not in _DIGESTS:
        _DIGESTS[path] = file_digest(path)
    return _DIGESTS[path]


def _commit() -> str | None:
    """Commit of the source tree, None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=here,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
