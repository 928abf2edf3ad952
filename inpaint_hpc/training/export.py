"""From a training run to weights with a model card."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import WeightsInfo, file_digest, save_weights

if TYPE_CHECKING:
    from .loop import Trainer

_DIGESTS: dict[Path, str] = {}


def export_weights(trainer: Trainer, path: Path, metrics: dict[str, Any]) -> WeightsInfo:
    """Write the averaged weights of a run and a card that says where they come from."""
    config = trainer.config
    data = Path(config.data)
    card = {
        "name": path.stem,
        "network": trainer.network_sizes(),
        "parameters": sum(p.numel() for p in trainer.parameters),
        "data": {
            "file": data.name,
            "sha256": _digest(data),
            "crystals": len(trainer.data),
            "max_atoms": config.max_atoms,
        },
        **({"pairs": pairs} if (pairs := _pairs(trainer)) else {}),
        **({"start_from": trainer.start_sha256} if trainer.start_sha256 else {}),
        "training": {
            "steps": trainer.step,
            "crystals_seen": trainer.step * trainer.settings.batch_size * trainer.parallel.world_size,
            "minutes": round(trainer.elapsed / 60, 1),
            "processes": trainer.parallel.world_size,
            "device": trainer.parallel.device.type,
            "precision": config.precision,
            "workers": trainer.workers,
            "seed": config.seed,
            "masks": config.masks.model_dump(),
            "batch": config.batch.model_dump(),
            "optimizer": config.optimizer.model_dump(),
        },
        "validation": metrics,
        "commit": _commit(),
        "versions": {name: version(name) for name in ("torch", "e3nn", "numpy")},
        "created": datetime.now(UTC).date().isoformat(),
        "licence": "MIT (weights); training data CC BY 4.0, see `data`",
    }
    return save_weights(trainer.average, path, card)


def restore_weights(run: Path) -> None:
    """Write `model.safetensors` of a run that came without it, from the checkpoint and the card beside it.

    Raises:
        InputError: they would not be the weights that the card describes.
    """
    card = json.loads((run / "model.json").read_text())
    average = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    if save_weights(average, run / "model.safetensors", card).sha256 != card["sha256"]:
        raise InputError(f"{run}: the card model.json is not that of checkpoint.pt; run the slice again")


def _pairs(trainer: Trainer) -> dict[str, Any] | None:
    path = trainer.config.pairs
    if path is None:
        return None
    return {"file": path.name, "sha256": _digest(path), "train": len(trainer.pairs), "val": len(trainer.held_out_pairs)}


def _digest(path: Path) -> str:
    """sha256 of a data file, read once."""
    if path not in _DIGESTS:
        _DIGESTS[path] = file_digest(path)
    return _DIGESTS[path]


def _commit() -> str | None:
    """Commit of the source tree, None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
