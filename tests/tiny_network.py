"""A score network that costs nothing and knows nothing: it places guests almost at random."""

from pathlib import Path

import torch

from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.network.weights import WeightsInfo, save_weights

SIZES = {"scalars": 8, "channels": 4, "tensor_channels": 2, "hidden": 8, "host_layers": 1, "guest_layers": 1}


def save_tiny_weights(folder: Path, seed: int = 0, **sizes: int) -> WeightsInfo:
    """Write tiny.safetensors and its card; `sizes` replace those above."""
    torch.manual_seed(seed)
    network = ScoreNetwork(NetworkConfig(**{**SIZES, **sizes}))
    return save_weights(
        network.state_dict(), folder / "tiny.safetensors", {"name": "tiny", "network": network.to_dict()}
    )
