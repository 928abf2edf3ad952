"""Training batches: masked crystals with several noise draws per encoding.

A batch is a function of (seed, step, rank) alone, so that a resumed run sees exactly what an uninterrupted one would
have seen, and no random state needs to be stored.  It is made in two parts: `draw_batch` makes all random choices, on
a CPU and optionally in another process (`feed`); `noised` moves the draw to the device of the network and computes the
most expensive part there, the exact target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystals, Guests
from inpaint_hpc.crystals.packed import ElectrodePair, PackedDataset

from .examples import masked_example, pair_example, perturbed
from .masks import KINDS, MaskMixture
from .noise_levels import stratified_log_uniform
from .wrapped_normal import scaled_score

# `TrainingBatch.kind` of an electrode pair.
PAIR = len(KINDS)


@dataclass(frozen=True)
class DrawnBatch:
    """The draw for a batch, on the CPU; `noised` turns it into a `TrainingBatch`.

    Attributes:
        hosts: B clean (or slightly perturbed) hosts.
        guests: clean guests of S samples.
        sigma: noise level of each sample in A, (S,).
        noise: standard normal, (G, 3).
        kind: index into `KINDS` of each host, `PAIR` for electrode pairs, (B,).
    """

    hosts: Crystals
    guests: Guests
    sigma: torch.Tensor
    noise: torch.Tensor
    kind: torch.Tensor

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All tensors, in the order that `from_tensors` expects."""
        h, g = self.hosts, self.guests
        hosts, guests = (h.numbers, h.positions, h.cells, h.crystal), (g.numbers, g.positions, g.sample, g.host)
        return (*hosts, *guests, self.sigma, self.noise, self.kind)

    @classmethod
    def from_tensors(cls, tensors: Iterable[torch.Tensor]) -> DrawnBatch:
        """The batch with these tensors, in the order of `tensors`."""
        tensors = tuple(tensors)
        return cls(Crystals(*tensors[:4]), Guests(*tensors[4:8]), *tensors[8:])

    def pin_memory(self) -> DrawnBatch:
        """In page-locked memory, from which copies to a GPU need not be waited for; `DataLoader` calls this."""
        return self.from_tensors(x.pin_memory() for x in self.tensors)

    def __reduce__(self) -> tuple:
        """Pickle plain arrays."""
        # From a worker a batch comes through a pipe as plain arrays, less than 1 MB.  Tensors would come through shared
        # memory, which is as small as 64 MB in many containers, at the price of one open file each.
        return _from_arrays, tuple(x.numpy() for x in self.tensors)

    @classmethod
    def cat(cls, batches: Sequence[DrawnBatch]) -> DrawnBatch:
        """Several batches as one."""
        hosts = np.cumsum([0] + [len(b.hosts) for b in batches])
        samples = np.cumsum([0] + [len(b.guests) for b in batches])
        guests = Guests(
            torch.cat([b.guests.numbers for b in batches]),
            torch.cat([b.guests.positions for b in batches]),
            torch.cat([b.guests.sample + int(n) for b, n in zip(batches, samples, strict=False)]),
            torch.cat([b.guests.host + int(n) for b, n in zip(batches, hosts, strict=False)]),
        )
        rest = (torch.cat([getattr(b, name) for b in batches]) for name in ("sigma", "noise", "kind"))
        return cls(Crystals.cat(b.hosts for b in batches), guests, *rest)


def _from_arrays(*arrays: np.ndarray) -> DrawnBatch:
    return DrawnBatch.from_tensors(torch.from_numpy(x) for x in arrays)


@dataclass(frozen=True)
class TrainingBatch:
    """Hosts, noised guests and their exact target.

    Attributes:
        hosts: B clean (or slightly perturbed) hosts.
        guests: noised guests of S samples.
        sigma: noise level of each sample in A, (S,).
        target: sigma times the score of the wrapped normal, (G, 3).
        kind: index into `KINDS` of each host, `PAIR` for electrode pairs, (B,).
    """

    hosts: Crystals
    guests: Guests
    sigma: torch.Tensor
    target: torch.Tensor
    kind: torch.Tensor


@dataclass(frozen=True)
class BatchSettings:
    """How batches are drawn.

    Attributes:
        batch_size: crystals per process and step.
        draws: maximum number of noise draws per encoding; crystals with many guests get fewer, see `guest_budget`.
        guest_budget: aim for at most this many noised guests per crystal, so that all-atom masks do not dominate.
        sigma_min, sigma_max: range of noise levels, A.
        host_noise, host_strain, host_noise_fraction: this fraction of hosts is perturbed, by normal noise of up to
            `host_noise` A and a cell strain of up to `host_strain`: real hosts were not relaxed around the guests.
        supercell_atoms: partial masks may double a cell up to this many atoms.
        pair_fraction: share of crystals that are electrode pairs, if the run has any.
        pair_partial: share of these in which some of the guests are already in place.
    """

    batch_size: int = 16
    draws: int = 8
    guest_budget: int = 24
    sigma_min: float = 0.03
    sigma_max: float = 3.5
    host_noise: float = 0.1
    host_noise_fraction: float = 0.15
    supercell_atoms: int = 20
    host_strain: float = 0.0
    pair_fraction: float = 0.0
    pair_partial: float = 0.3


def training_indices(n: int, step: int, size: int, seed: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    """Rows of the training set for one step of one process: a fresh permutation each epoch, no row twice in it."""
    per_step = size * world_size
    first = step * per_step + rank * size
    epochs = np.arange(first, first + size) // n
    rows = np.arange(first, first + size) % n
    result = np.empty(size, np.int64)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([seed, 1, int(epoch)]).permutation(n)
        result[epochs == epoch] = order[rows[epochs == epoch]]
    return result


def make_batch(
    dataset: PackedDataset,
    rows: np.ndarray,
    settings: BatchSettings,
    masks: MaskMixture,
    key: list[int],
    device: torch.device | str = "cpu",
    pairs: Sequence[ElectrodePair] = (),
) -> TrainingBatch:
    """Both parts in one: `draw_batch`, then `noised`."""
    return noised(draw_batch(dataset, rows, settings, masks, key, pairs), device)


def draw_batch(
    dataset: PackedDataset,
    rows: np.ndarray,
    settings: BatchSettings,
    masks: MaskMixture,
    key: list[int],
    pairs: Sequence[ElectrodePair] = (),
) -> DrawnBatch:
    """Mask some crystals and draw their noise; all randomness comes from `key`.

    Of the crystals, `settings.pair_fraction` are replaced by electrode pairs drawn from `pairs`, if there are any.
    """
    rng = np.random.default_rng(key)
    examples, counts, draws = [], [], []
    kinds = rng.choice(len(KINDS), size=len(rows), p=masks.probabilities())
    if pairs:
        kinds[rng.random(len(rows)) < settings.pair_fraction] = PAIR
    for row, kind in zip(rows, kinds, strict=True):
        if kind == PAIR:
            example = pair_example(pairs, settings.pair_partial, rng)
        else:
            example = masked_example(dataset[int(row)], KINDS[kind], settings.supercell_atoms, rng)
        if rng.random() < settings.host_noise_fraction:
            example = perturbed(example, settings.host_noise, settings.host_strain, rng)
        examples.append(example)
        counts.append(len(example.guest_numbers))
        draws.append(min(max(settings.guest_budget // counts[-1], 1), settings.draws))
    hosts = [example.host for example in examples]
    clean = [example.guest_frac @ example.host.lattice for example in examples]

    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    levels = stratified_log_uniform((len(rows), settings.draws), settings.sigma_min, settings.sigma_max, generator)
    sample_host = np.repeat(np.arange(len(rows)), draws)
    # A crystal with fewer draws takes evenly spread strata, so that every noise level stays equally likely.
    offset = rng.random(len(rows))
    stratum = [int((k + offset[b]) * settings.draws / draws[b]) for b in range(len(rows)) for k in range(draws[b])]
    sigma = levels[torch.as_tensor(sample_host), torch.as_tensor(stratum)]
    per_sample = np.array(counts)[sample_host]
    sample = np.repeat(np.arange(len(sample_host)), per_sample)
    guests = Guests(
        torch.as_tensor(np.concatenate([examples[b].guest_numbers for b in sample_host])),
        torch.as_tensor(np.concatenate([clean[b] for b in sample_host]), dtype=torch.float32),
        torch.as_tensor(sample),
        torch.as_tensor(sample_host),
    )
    noise = torch.randn(guests.positions.shape, generator=generator)
    return DrawnBatch(Crystals.from_list(hosts), guests, sigma, noise, torch.as_tensor(kinds))


def noised(drawn: DrawnBatch, device: torch.device | str = "cpu") -> TrainingBatch:
    """The draw on the device, with noised guests and their target."""
    on_device = DrawnBatch.from_tensors(x.to(device, non_blocking=True) for x in drawn.tensors)
    hosts, guests, sigma = on_device.hosts, on_device.guests, on_device.sigma
    displacement = sigma[guests.sample][:, None] * on_device.noise
    target = scaled_score(displacement, sigma[guests.sample], hosts.cells[guests.crystal])
    return TrainingBatch(hosts, guests.at(guests.positions + displacement), sigma, target, on_device.kind)
