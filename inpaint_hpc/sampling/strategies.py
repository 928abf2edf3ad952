"""Treatment of the host while guests are denoised.

A strategy turns a network into the score function that a sampler needs: it places the host, calls the network, and
returns the scores of the guests.  Samplers see guests only, so every strategy works with every sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals, Guests
from inpaint_hpc.kernels.rows import Rows

from .batching import edges_within
from .counter_rng import CounterRng, Purpose, task_key
from .tasks import Task

NOISE_AHEAD = 2**17  # numbers of guests drawn together, of a few steps of large batches: 40 MB while they are made


class Network(Protocol):
    """Interface of a score network for sampling; `inpaint_hpc.network.score_network.ScoreNetwork` is one."""

    @property
    def sigma_min(self) -> float:
        """Lowest noise level that it was trained for, A."""

    @property
    def sigma_max(self) -> float:
        """Highest noise level that it was trained for, A."""

    def encode(self, hosts: Crystals) -> Any:
        """Encode a batch of hosts, which may have no atoms."""

    def denoise(self, encoding: Any, guests: Guests, sigma: torch.Tensor) -> torch.Tensor:
        """sigma * score of guests (G, 3) at the noise level of each sample, sigma (S,) in A."""


class SampleBatch:
    """Tensors of a batch of samples; everything about them that does not change from step to step.

    Args:
        tasks: tasks of the batch.
        indices: indices of the samples of each task.
        seed: seed of the settings.
        device: device of all tensors.

    Attributes:
        cells, inverse_cells: of each task's host, float64 (T, 3, 3), A and 1/A.
        numbers: atomic numbers of the guests, int64 (G,).
        sample: sample of each guest, int64 (G,).  atom: its index within the sample, int64 (G,).
        host: task of each sample, int64 (S,).
        rng: random numbers of the samples.
    """

    def __init__(
        self, tasks: Sequence[Task], indices: Sequence[Sequence[int]], seed: int, device: torch.device
    ) -> None:
        self.tasks, self.device = tuple(tasks), device
        lattices = np.stack([task.host.lattice for task in tasks])
        self.cells = torch.as_tensor(lattices).to(device)
        self.inverse_cells = torch.as_tensor(np.linalg.inv(lattices)).to(device)
        n_samples = [len(rows) for rows in indices]
        host = np.repeat(np.arange(len(tasks)), n_samples)
        n_guests = np.array([len(task.guests) for task in tasks])[host]
        numbers = [np.tile(task.guests, n) for task, n in zip(tasks, n_samples, strict=True)]
        keys = np.array([task_key(task.random_id or task.id, seed) for task in tasks], dtype=np.int64)[host]
        self.host = self.tensor(host)
        self.n_guests = self.tensor(n_guests)
        self.numbers = self.tensor(np.concatenate(numbers))
        self.sample = self.tensor(np.repeat(np.arange(len(host)), n_guests))
        self.atom = self.tensor(np.concatenate([np.arange(n) for n in n_guests]))
        self.rng = CounterRng(self.tensor(keys), self.tensor(np.concatenate(indices)))

    def __len__(self) -> int:
        return len(self.host)

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """An integer array as int64 on the device of the batch."""
        return torch.as_tensor(np.asarray(array, dtype=np.int64)).to(self.device)

    def uniform_positions(self) -> torch.Tensor:
        """Uniform positions of the guests in their cells, A, float64 (G, 3)."""
        frac = self.rng.uniform(self.sample, 0, Purpose.PRIOR, self.atom)
        return rows_times(frac, self.cells[self.host[self.sample]])

    def noised(self, frac_coords: np.ndarray, sigma: float) -> torch.Tensor:
        """Positions in A, float64 (G, 3): fractional coordinates of the guests (G, 3), noised to `sigma` (A)."""
        frac = torch.as_tensor(np.asarray(frac_coords, dtype=np.float64)).to(self.device)
        noise = self.rng.normal(self.sample, 0, Purpose.START, self.atom)
        return rows_times(frac, self.cells[self.host[self.sample]]) + sigma * noise

    def fractional(self, positions: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """Fractional coordinates in [0, 1) of atoms (n, 3) of the given samples (n,)."""
        frac = rows_times(positions, self.inverse_cells[self.host[sample]])
        frac = frac - torch.floor(frac)
        # A tiny negative number plus one rounds to one.
        return torch.where(frac >= 1.0, torch.zeros_like(frac), frac)

    def wrapped(self, positions: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """Positions in A (n, 3), moved into the cell: far from the origin float32 would lose digits."""
        return rows_times(self.fractional(positions, sample), self.cells[self.host[sample]])


class PathNoise:
    """Normal numbers of the guests for the steps of a path, those of many steps drawn at once.

    They are the numbers of each step alone; a small batch costs a fraction of the operations, which are what a GPU
    and a CPU wait for there.

    Args:
        batch: the samples.
        last: number of the last step.
    """

    def __init__(self, batch: SampleBatch, last: int) -> None:
        self.batch, self._last = batch, last
        self._blocks: dict[tuple[Purpose, int], tuple[int, torch.Tensor]] = {}

    def numbers(self, step: int, purpose: Purpose, repeat: int) -> torch.Tensor:
        """For the guests, float64 (G, 3)."""
        first, block = self._blocks.get((purpose, repeat), (0, None))
        if block is None or not first <= step < first + len(block):
            first, block = step, self._drawn(step, purpose, repeat)
            self._blocks[purpose, repeat] = first, block
        return block[step - first]

    def _drawn(self, step: int, purpose: Purpose, repeat: int) -> torch.Tensor:
        batch = self.batch
        guests = max(1, len(batch.sample))
        steps = torch.arange(
            step, step + max(1, min(NOISE_AHEAD // guests, self._last - step + 1)), device=batch.device
        )
        rows = batch.sample.repeat(len(steps)), steps.repeat_interleave(guests), purpose, batch.atom.repeat(len(steps))
        return batch.rng.normal(*rows, repeat).reshape(len(steps), guests, 3)


class StepNoise:
    """Normal numbers of one step of the sampling loop; repeated calls for one purpose give fresh numbers."""

    def __init__(self, path: PathNoise, step: int) -> None:
        self._path, self._step = path, step
        self._asked: dict[Purpose, int] = {}

    def __call__(self, purpose: Purpose) -> torch.Tensor:
        """Numbers for the guests, float64 (G, 3)."""
        return self._path.numbers(self._step, purpose, self._repeat(purpose))

    def normal(self, purpose: Purpose, sample: torch.Tensor, atom: torch.Tensor) -> torch.Tensor:
        """Numbers for the given atoms (n,) of the given samples (n,), float64 (n, 3)."""
        return self._path.batch.rng.normal(sample, self._step, purpose, atom, self._repeat(purpose))

    def _repeat(self, purpose: Purpose) -> int:
        repeat = self._asked.get(purpose, 0)
        self._asked[purpose] = repeat + 1
        return repeat


class Conditional:
    """Host atoms are clean at every noise level: the network's own conditional distribution.

    The host is encoded once and shared by all samples and steps.  With an empty host this is all-atom generation.
    """

    def __init__(self, network: Network, encoding: Any, batch: SampleBatch, dtype: torch.dtype) -> None:
        self.network, self.encoding, self.batch, self.dtype = network, encoding, batch, dtype

    @staticmethod
    def hosts(tasks: Sequence[Task]) -> list[Crystal]:
        """Crystals to encode."""
        return [task.host for task in tasks]

    @staticmethod
    def edges(task: Task, cutoff: float, guest_cutoff: float) -> tuple[float, float]:
        """Expected edges to encode the host, and of one sample in one network evaluation."""
        n, g, volume = len(task.host), len(task.guests), task.host.volume
        sample = edges_within(g, n, volume, cutoff) + edges_within(g, g, volume, guest_cutoff)
        return edges_within(n, n, volume, cutoff), max(sample, float(g))

    def score(self, positions: torch.Tensor, sigma: float, noise: StepNoise) -> torch.Tensor:
        """sigma * score of the guests at `positions` (G, 3) in A, float64 (G, 3)."""
        batch = self.batch
        return self._evaluate(batch.numbers, positions, batch.sample, sigma)

    def denoised(self, positions: torch.Tensor, sigma: float, noise: StepNoise) -> torch.Tensor:
        """Expected clean positions of the guests in A, (G, 3) (Tweedie's formula): the last step, without noise."""
        return positions + sigma * self.score(positions, sigma, noise)

    def _evaluate(
        self, numbers: torch.Tensor, positions: torch.Tensor, sample: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        batch = self.batch
        guests = Guests(numbers, batch.wrapped(positions, sample).to(self.dtype), sample, batch.host)
        levels = torch.full((len(batch),), sigma, dtype=self.dtype, device=batch.device)
        return self.network.denoise(self.encoding, guests, levels).double()


class Replacement(Conditional):
    """Host atoms are noised like guests, in a host without atoms: inpainting with an all-atom model.

    At every network evaluation host atoms are at host + sigma z, with the sigma of that evaluation and fresh z (Song et
    al., ICLR 2021, appendix I.2); their scores are not used, except at the end, see `denoised`.
    Because they are placed from the input each time, nothing can drift in the input's frame.
    """

    def __init__(self, network: Network, encoding: Any, batch: SampleBatch, dtype: torch.dtype) -> None:
        super().__init__(network, encoding, batch, dtype)
        hosts = [batch.tasks[t].host for t in batch.host.tolist()]
        n_known = np.array([len(host) for host in hosts])
        self.known_sample = batch.tensor(np.repeat(np.arange(len(hosts)), n_known))
        within = batch.tensor(np.concatenate([np.arange(n) for n in n_known]))
        # Counted after the guests, so that no two atoms of a sample share random numbers.
        self.known_atom = within + batch.n_guests[self.known_sample]
        self.known_positions = torch.as_tensor(np.concatenate([host.positions for host in hosts])).to(batch.device)
        known_numbers = batch.tensor(np.concatenate([host.numbers for host in hosts]))
        sample = torch.cat([batch.sample, self.known_sample])
        # `Guests` needs the atoms of a sample to be contiguous.
        self.order = torch.argsort(sample, stable=True)
        self.back = torch.argsort(self.order)
        self.ordered_sample = sample[self.order]
        self.ordered_numbers = torch.cat([batch.numbers, known_numbers])[self.order]
        self.n_known = batch.tensor(n_known)

    @staticmethod
    def hosts(tasks: Sequence[Task]) -> list[Crystal]:
        """The cells without atoms."""
        return [Crystal(np.zeros(0, np.int64), np.zeros((0, 3)), task.host.lattice, task.name) for task in tasks]

    @staticmethod
    def edges(task: Task, cutoff: float, guest_cutoff: float) -> tuple[float, float]:
        """Nothing to encode; in every network evaluation all atoms are guests."""
        atoms = len(task.host) + len(task.guests)
        return 0.0, max(edges_within(atoms, atoms, task.host.volume, guest_cutoff), float(atoms))

    def score(self, positions: torch.Tensor, sigma: float, noise: StepNoise) -> torch.Tensor:
        """sigma * score of the guests among host atoms noised to `sigma`, float64 (G, 3)."""
        return self._joint(positions, sigma, noise)[0]

    def denoised(self, positions: torch.Tensor, sigma: float, noise: StepNoise) -> torch.Tensor:
        """Expected clean positions of the guests in A, (G, 3), in the frame of the clean host.

        The noise of the host atoms has a mean, and guests follow it.  The denoised host atoms, whose clean positions
        are known, show how large it was.
        """
        scaled, known, z = self._joint(positions, sigma, noise)
        drift = Rows(self.known_sample, len(self.batch), self.n_known).sum(sigma * (z + known))
        drift = drift / self.n_known.clamp(min=1)[:, None]
        return positions + sigma * scaled - drift[self.batch.sample]

    def _joint(
        self, positions: torch.Tensor, sigma: float, noise: StepNoise
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = noise.normal(Purpose.HOST, self.known_sample, self.known_atom)
        everyone = torch.cat([positions, self.known_positions + sigma * z])[self.order]
        scaled = self._evaluate(self.ordered_numbers, everyone, self.ordered_sample, sigma)[self.back]
        n_guests = len(positions)
        return scaled[:n_guests], scaled[n_guests:], z


class Repaint(Replacement):
    """Replacement with time travel (Lugmayr et al., CVPR 2022): the noise level goes back up several times.

    Guests thus adapt to the host repeatedly, for which plain replacement leaves no time.
    """


# Here, where one task is sampled in one way, `auto` is the plain conditional distribution.
STRATEGY_CLASSES = {"auto": Conditional, "conditional": Conditional, "replacement": Replacement, "repaint": Repaint}


def travel_back(positions: torch.Tensor, sigma_from: float, sigma_to: float, noise: StepNoise) -> torch.Tensor:
    """Noise positions (G, 3) in A from level `sigma_from` up to `sigma_to`: variances add, so the standard deviation of
    the noise is sqrt(sigma_to^2 - sigma_from^2)."""
    return positions + (sigma_to**2 - sigma_from**2) ** 0.5 * noise(Purpose.TIME_TRAVEL)


def rows_times(rows: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Row vectors (n, 3) times matrices (n, 3, 3).

    Written out: the result of a batched matrix product may depend in its last bits on the size of the batch.
    """
    x, y, z = rows[:, 0:1], rows[:, 1:2], rows[:, 2:3]
    return x * matrices[:, 0] + y * matrices[:, 1] + z * matrices[:, 2]
