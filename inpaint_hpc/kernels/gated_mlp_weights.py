"""Weights of CHGNet's gated MLP, for torch and for Triton."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GatedWeights:
    """Weights after the first linear map of a gated MLP; d is its width, core and gate are stored side by side.

    Attributes:
        core, gate: second linear maps (d, d), or None if there is only one linear map.
        core_bias, gate_bias: (d,) or None, likewise.
        scale, shift: affine part of the two layer normalisations (2, d), or None without normalisation.
    """

    core: Tensor | None
    gate: Tensor | None
    core_bias: Tensor | None
    gate_bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
