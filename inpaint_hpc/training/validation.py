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

from .batches import BatchSettings, TrainingBatch, make_batch
from .masks import KINDS, MaskMixture

# Edges of the buckets in A; sites are decided between 0.3 and 1.5 A.
SIGMA_BUCKETS = (0.0, 0.1, 0.3, 0.7, 1.5, np.inf)
# Noised guests closer than this (A) to a host atom are watched on their own: a potential may give its lowest energy to
# a guest on top of a host atom, so the score must push it away.
NEAR_HOST = 1.0
_SEED = 20_24


@torch.no_grad()
def validate(
    network: ScoreNetwork,
    dataset: PackedDataset,
    settings: BatchSettings,
    masks: MaskMixture,
    crystals: int,
    pairs: Sequence[ElectrodePair] = (),
) -> dict[str, Any]:
    """Mean loss per guest.

    Returns:
        `loss`; `loss_sigma_A-B` per bucket of noise levels (A); `loss_KIND` per kind of mask; `loss_near_host` of
        guests that noise has put within 1 A of a host atom; with `pairs`, `loss_pair` of all guests of electrode pairs.
    """
    device = next(network.parameters()).device
    rows = np.random.default_rng(_SEED).permutation(len(dataset))[:crystals]
    clean = replace(settings, host_noise_fraction=0.0, pair_fraction=0.0)
    losses, sigmas, kinds, near = [], [], [], []
    for first in range(0, len(rows), settings.batch_size):
        batch = make_batch(
            dataset, rows[first : first + settings.batch_size], clean, masks, [_SEED, first], device=device
        )
        losses.append(sample_loss(network, batch).cpu())
        sigmas.append(batch.sigma[batch.guests.sample].cpu())
        kinds.append(batch.kind[batch.guests.crystal].cpu())
        hosts, guests = batch.hosts, batch.guests
        images = periodic_images(hosts.cells, NEAR_HOST)
        close = neighbor_pairs(guests.positions, guests.crystal, hosts.positions, hosts.crystal, images)
        near.append((close.lengths > 0).cpu())
    loss, sigma, kind = torch.cat(losses), torch.cat(sigmas), torch.cat(kinds)
    record: dict[str, Any] = {"loss": _mean(loss)}
    for low, high in pairwise(SIGMA_BUCKETS):
        record[f"loss_sigma_{low:g}-{high:g}"] = _mean(loss[(sigma >= low) & (sigma < high)])
    for index, name in enumerate(KINDS):
        record[f"loss_{name}"] = _mean(loss[kind == index])
    record["loss_near_host"] = _mean(loss[torch.cat(near)])
    if pairs:
        only_pairs = replace(clean, pair_fraction=1.0, pair_partial=0.0)
        record["loss_pair"] = _pair_loss(network, dataset, only_pairs, pairs, device)
    return record


def sample_loss(network: ScoreNetwork, batch: TrainingBatch) -> torch.Tensor:
    """Squared error of sigma times the score of every guest, summed over x, y, z, (G,)."""
    predicted = network.denoise(network.encode(batch.hosts), batch.guests, batch.sigma)
    return ((predicted - batch.target) ** 2).sum(1)


def _pair_loss(network, dataset, settings: BatchSettings, pairs: Sequence[ElectrodePair], device) -> float | None:
    """Every pair once, with as many noise draws as in training."""
    losses = []
    for k, pair in enumerate(pairs):
        batch = make_batch(dataset, np.zeros(1, np.int64), settings, MaskMixture(), [_SEED, k], device, [pair])
        losses.append(sample_loss(network, batch).cpu())
    return _mean(torch.cat(losses))


def _mean(values: torch.Tensor) -> float | None:
    return round(float(values.mean()), 5) if len(values) else None
