"""CHGNet energies and forces of candidates (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)), one `PotentialResult`
each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .batch import BatchEvaluator
from .models import DEFAULT_WEIGHTS, load_chgnet_model, load_chgnet_network

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet


@dataclass(frozen=True)
class PotentialResult:
    """CHGNet's result for one crystal.

    Attributes:
        energy_per_atom: eV per atom; NaN when failed.
        max_force: largest force on any atom, eV/A; NaN when failed.
        max_guest_force: largest force on a guest, eV/A; 0 without guests, NaN when failed.
        forces: eV/A, (n, 3); None when failed.
        error: why it failed, one line; '' if it did not.
    """

    energy_per_atom: float
    max_force: float
    max_guest_force: float
    forces: np.ndarray | None = None
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is no energy."""
        return bool(self.error)


def load_chgnet(device: str = "cpu", weights: str = DEFAULT_WEIGHTS) -> CHGNet:
    """A CHGNet on a device, once per process, together with what `evaluate_candidates` needs of it.

    Raises:
        InputError: unknown weights, or an unavailable device.
    """
    load_chgnet_network(weights, device)
    return load_chgnet_model(weights, device)


def evaluate_candidates(
    crystals: Sequence[Crystal],
    n_guests: int | Sequence[int] = 0,
    device: Any = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    weights: str = DEFAULT_WEIGHTS,
) -> list[PotentialResult]:
    """Score crystals; a bad one is recorded as failed and does not affect the others (see `evaluate`).

    Args:
        crystals: host and guests, guests last.
        n_guests: how many atoms at the end are guests, for all crystals or for each.
        device: torch device; None takes the CPU.
        batch_size: maximum number of crystals at once; None limits only the size of their graphs.
        progress: called with the number of crystals finished since the last call.
        weights: a name in `CHGNET_WEIGHTS`.

    Returns:
        One `PotentialResult` per crystal, in order.

    Raises:
        ValueError: as many numbers of guests as crystals are needed.
        InputError: unknown weights, or an unavailable device.
    """
    counts = [n_guests] * len(crystals) if isinstance(n_guests, int) else list(n_guests)
    if len(counts) != len(crystals):
        raise ValueError(f"{len(crystals)} crystals but {len(counts)} numbers of guests")
    evaluator = BatchEvaluator(load_chgnet_network(weights, device), "ef")
    scores: list[PotentialResult] = []
    size = batch_size or max(1, len(crystals))
    for start in range(0, len(crystals), size):
        part = crystals[start : start + size]
        result = evaluator(part, progress).to("cpu")
        assert result.forces is not None  # asked for
        energies = result.energy_per_atom.tolist()
        forces = np.split(result.forces.numpy(), result.counts.cumsum(0)[:-1])
        rows = zip(energies, forces, result.errors, counts[start : start + size], strict=True)
        scores += [_score(*row) for row in rows]
    return scores


def _score(energy: float, forces: np.ndarray, error: str, n_guests: int) -> PotentialResult:
    if error:
        return PotentialResult(float("nan"), float("nan"), float("nan"), None, f"not scored: {error}")
    sizes = np.linalg.norm(forces, axis=1)
    guests = sizes[len(sizes) - n_guests :]
    return PotentialResult(energy, float(sizes.max(initial=0.0)), float(guests.max(initial=0.0)), forces)
