"""Network weights: safetensors beside a JSON model card.

`NAME.safetensors` holds the tensors, `NAME.json` the card: network sizes, sha256 of the tensor file, data, steps,
seed, commit, metrics, licence.  Packaged weights are in `inpaint_hpc/pretrained`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .weights_info import WeightsInfo, file_digest

if TYPE_CHECKING:
    import torch

    from .score_network import ScoreNetwork

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
DEFAULT = "small"
CARD_SCHEMA = "1.0"


def list_weights(folder: Path = PRETRAINED) -> list[WeightsInfo]:
    """Weights in a folder, by default those that come with the package."""
    return [find_weights(path) for path in sorted(folder.glob("*.safetensors"))]


def find_weights(name: str | Path | None = None) -> WeightsInfo:
    """Weights by the name of a packaged set, or by the path of a .safetensors file with its card beside it.

    Raises:
        InputError: no such weights, no card, or an unreadable card.
    """
    name = DEFAULT if name is None else name
    path = Path(name)
    if path.suffix != ".safetensors":
        path = PRETRAINED / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRETRAINED.glob("*.safetensors"))) or "none"
        raise InputError(f"no weights '{name}'; give a .safetensors file or one of the packaged sets: {known}")
    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        card["network"], card["sha256"]
    except FileNotFoundError:
        raise InputError(f"{path}: its model card {card_path.name} is missing; keep the two files together") from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise InputError(f"{card_path}: not a model card; export the weights again") from None
    return WeightsInfo(path.stem, path, card)


def load_network(name: str | Path | None = None, device: torch.device | str | None = None) -> ScoreNetwork:
    """Load a score network, ready to sample (evaluation mode, no gradients).

    Args:
        name: packaged set or .safetensors path; None is the default set.
        device: None takes the CPU.

    Returns:
        The network; `network.info` is its `WeightsInfo`.

    Raises:
        InputError: weights missing, damaged, of sizes other than on the card, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .score_network import NetworkConfig, ScoreNetwork

    info = find_weights(name)
    known = {f.name for f in fields(NetworkConfig)}
    unknown = set(info.card["network"]) - known
    if unknown:
        raise InputError(
            f"{info.path}: made by a newer version (unknown setting {sorted(unknown)[0]}); upgrade inpaint_hpc"
        )
    try:
        tensors = load_file(info.path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{info.path}: unreadable weights ({error}); copy the file again") from None
    if not info.verify():
        raise InputError(f"{info.path}: its sha256 is not the one on its card; copy both files again")
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise InputError(f"{info.path}: holds NaN or infinite weights; use another checkpoint")
    network = ScoreNetwork(NetworkConfig(**info.card["network"]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(f"{info.path}: tensors do not fit the sizes on its card; export the weights again") from None
    network.info = info
    return network.eval().requires_grad_(False).to(device or "cpu")


def save_weights(state: dict[str, torch.Tensor], path: Path, card: dict[str, Any]) -> WeightsInfo:
    """Write `path` (.safetensors) and the card beside it, each atomically; the card last."""
    from safetensors.torch import save

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        # Bytes, because safetensors' own file writer makes files that only their owner may read.
        temporary.write_bytes(save({k: v.detach().cpu().contiguous() for k, v in state.items()}))
    card = {"schema": CARD_SCHEMA, **card, "sha256": file_digest(path)}
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return WeightsInfo(path.stem, path, card)
