"""Validation loss by noise level and by kind of mask, on the same crystals and the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from inpaint_hpc.crystals.neighbors import neighbor_pairs, periodic_images
from inpaint_hpc.crystals.packed import ElectrodePair, PackedDataset
from inpaint_hpc.network.score_network import ScoreNetwork

from .batches import BatchSettings, DrawnBatch, TrainingBatch, draw_batch, noised
from .masks import KINDS, MaskMixture

# Edges of the buckets in A; sites are decided between 0.3 and 1.5 A.
SIGMA_BUCKETS = (0.0, 0.1, 0.3, 0.7, 1.5, np.inf)
# Noised guests closer than this (A) to a host atom are watched on their own: a potential may give its lowest energy to
# a guest on top of a host atom, so the score must push it away.
NEAR_HOST = 1.0
_SEED = 20_24


class Validation:
    """The validation set of a run: drawn once and kept on the device, since it is always the same.

    Args:
        dataset: held-out crystals, of which the first `crystals` in a fixed order are used.
        settings, masks: those of training; hosts stay unperturbed.
        pairs: held-out electrode pairs, every one once, with as many noise draws as in training.
        device: of the networks to come.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        settings: BatchSettings,
        masks: MaskMixture,
        crystals: int,
        pairs: Sequence[ElectrodePair] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        """Draw the batches that every validation uses."""
        rows, size = np.random.default_rng(_SEED).permutation(len(dataset))[:crystals], settings.batch_size
        clean = replace(settings, host_noise_fraction=0.0, pair_fraction=0.0)
        self._batches = [
            noised(draw_batch(dataset, rows[first : first + size], clean, masks, [_SEED, first]), device)
            for first in range(0, len(rows), size)
        ]
        self._near_host = torch.cat([_near_host(batch) for batch in self._batches])
        only_pairs = replace(clean, pair_fraction=1.0, pair_partial=0.0)
        # Each pair has its own key, so that its loss does not depend on the others; the network takes many at once.
        drawn = [
            draw_batch(dataset, np.zeros(1, np.int64), only_pairs, MaskMixture(), [_SEED, k], [pair])
            for k, pair in enumerate(pairs)
        ]
        self._pairs = [
            noised(DrawnBatch.cat(drawn[first : first + size]), device) for first in range(0, len(drawn), size)
        ]

    @torch.no_grad()
    def record(self, network: ScoreNetwork) -> dict[str, Any]:
        """Mean loss per guest.

        Returns:
            `loss`; `loss_sigma_A-B` per bucket of noise levels (A); `loss_KIND` per kind of mask; `loss_near_host` of
            guests that noise has put within 1 A of a host atom; with `pairs`, `loss_pair` of all guests of electrode
            pairs.
        """
        loss = torch.cat([sample_loss(network, batch) for batch in self._batches]).cpu()
        sigma = torch.cat([batch.sigma[batch.guests.sample] for batch in self._batches]).cpu()
        kind = torch.cat([batch.kind[batch.guests.crystal] for batch in self._batches]).cpu()
        record: dict[str, Any] = {"loss": _mean(loss)}
        for low, high in pairwise(SIGMA_BUCKETS):
            record[f"loss_sigma_{low:g}-{high:g}"] = _mean(loss[(sigma >= low) & (sigma < high)])
        for index, name in enumerate(KINDS):
            record[f"loss_{name}"] = _mean(loss[kind == index])
        record["loss_near_host"] = _mean(loss[self._near_host])
        if self._pairs:
            record["loss_pair"] = _mean(torch.cat([sample_loss(network, batch) for batch in self._pairs]).cpu())
        return record


def sample_loss(network: ScoreNetwork, batch: TrainingBatch, precision: str = "float32") -> torch.Tensor:
    """Squared error of sigma times the score of every guest, summed over x, y, z, (G,), float32.

    With the precision `bf16` the network runs under autocast.
    """
    with torch.autocast(batch.target.device.type, torch.bfloat16, enabled=precision == "bf16"):
        predicted = network.denoise(network.encode(batch.hosts), batch.guests, batch.sigma)
    return ((predicted.float() - batch.target) ** 2).sum(1)


def _near_host(batch: TrainingBatch) -> torch.Tensor:
    """Whether noise has put each guest on top of a host atom, (G,), on the CPU."""
    hosts, guests = batch.hosts, batch.guests
    images = periodic_images(hosts.cells, NEAR_HOST)
    close = neighbor_pairs(guests.positions, guests.crystal, hosts.positions, hosts.crystal, images)
    return (close.lengths > 0).cpu()


def _mean(values: torch.Tensor) -> float | None:
    return round(float(values.mean()), 5) if len(values) else None
