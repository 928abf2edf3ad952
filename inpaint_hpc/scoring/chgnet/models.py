"""The CHGNet weights that come with chgnet, loaded once per process and kept quiet.

chgnet prints a greeting on stdout, where `--json` promises one JSON object and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from inpaint_hpc.errors import InputError

from .network import ChgnetNetwork

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet

# 0.3.0 and 0.2.0: trained on MPtrj (PBE, PBE+U); r2scan: 0.3.0 further trained on r2SCAN energies.
CHGNET_WEIGHTS = ("0.3.0", "0.2.0", "r2scan")
DEFAULT_WEIGHTS = "0.3.0"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing on stdout and no warnings while chgnet works."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=4)
def load_chgnet_model(weights: str = DEFAULT_WEIGHTS, device: str = "cpu") -> CHGNet:
    """A CHGNet of chgnet itself, with frozen parameters, once per process.

    Raises:
        InputError: unknown weights, or an unavailable device.
    """
    require_weights(weights)
    _require_device(device)
    with quiet():
        from chgnet.model.model import CHGNet

        model = CHGNet.load(model_name=weights, use_device="cpu", verbose=False)
    return model.to(device).eval().requires_grad_(False)


@lru_cache(maxsize=4)
def _published_network(weights: str, device: str) -> ChgnetNetwork:
    return ChgnetNetwork(load_chgnet_model(weights), device)


def load_chgnet_network(model: str | CHGNet | ChgnetNetwork = DEFAULT_WEIGHTS, device: Any = None) -> ChgnetNetwork:
    """The network that evaluates batches.

    Args:
        model: a name in `CHGNET_WEIGHTS`, a CHGNet (e.g. trained by the user), or a network, used as it is.
        device: torch device; None takes that of a given network, else the CPU.

    Raises:
        InputError: unknown weights, an unavailable device, a network on another device, or a CHGNet of a
            different architecture.
    """
    if isinstance(model, ChgnetNetwork):
        if device is not None and not _is_same(torch.device(device), model.device):
            raise InputError(f"the CHGNet network is on {model.device}, not on {device}")
        return model
    device = str(device or "cpu")
    _require_device(device)
    if isinstance(model, str):
        return _published_network(model, device)
    return ChgnetNetwork(model, device)


def potential_name(weights: str) -> str:
    """What results call the potential with these weights, e.g. 'CHGNet 0.3.0'."""
    return f"CHGNet {weights}"


def weights_of_potential(name: str) -> str:
    """The weights that `potential_name` was given.

    Raises:
        InputError: another potential.
    """
    found = {potential_name(weights): weights for weights in CHGNET_WEIGHTS}
    if name not in found:
        raise InputError(f"the potential '{name}' is not known here; known are {', '.join(found)}")
    return found[name]


@lru_cache(maxsize=4)
def weights_digest(weights: str = DEFAULT_WEIGHTS) -> str:
    """sha256 of names and values of a model's weights, 64 hexadecimal digits.

    Raises:
        InputError: unknown weights.
    """
    digest = hashlib.sha256()
    for name, values in sorted(load_chgnet_model(weights).state_dict().items()):
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode() + values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def require_weights(name: str) -> None:
    """Refuse a name that is not in `CHGNET_WEIGHTS`.

    Raises:
        InputError: unknown weights.
    """
    if name not in CHGNET_WEIGHTS:
        raise InputError(f"unknown CHGNet weights '{name}'; choose one of {', '.join(CHGNET_WEIGHTS)}")


def _is_same(one: torch.device, other: torch.device) -> bool:
    """'cuda' is any GPU."""
    return one.type == other.type and (None in (one.index, other.index) or one.index == other.index)


def _require_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device '{device}' cannot be used: {reason}") from error
