"""The score network: `encode` a host once, `denoise` guests in it at every step.

Messages flow host -> host, host -> guest and guest -> guest, never guest -> host.  Host features therefore depend
neither on guest positions nor on the noise level and are computed once per host, without approximation.
All-atom generation is `denoise` with an empty host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from inpaint_hpc.crystals.batch import Crystals, Guests
from inpaint_hpc.crystals.neighbors import Neighbors, PeriodicImages, neighbor_pairs, periodic_images
from inpaint_hpc.kernels.rows import Rows

from .embedding import ElementEmbedding
from .layers import MLP, Message, Sent, Update, edge_features

if TYPE_CHECKING:
    from .weights_info import WeightsInfo


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a score network.

    Attributes:
        scalars: width of the scalar features of an atom.
        channels: vectors per atom, and channels of a message.
        tensor_channels: l = 2 channels of a message.
        hidden: width of the networks that give the weights of an edge.
        host_layers, guest_layers: message passing steps of encoder and denoiser.
        host_cutoff: A, host -> host and host -> guest edges.  guest_cutoff: A, guest -> guest edges.
        n_basis: Bessel functions per edge.
        sigma_min, sigma_max: trained range of noise levels in A.
        mean_neighbors, mean_guest_neighbors: normalise sums over neighbours.
    """

    scalars: int = 64
    channels: int = 32
    tensor_channels: int = 16
    hidden: int = 64
    host_layers: int = 3
    guest_layers: int = 4
    host_cutoff: float = 5.0
    guest_cutoff: float = 6.0
    n_basis: int = 10
    sigma_min: float = 0.03
    sigma_max: float = 3.5
    mean_neighbors: float = 30.0
    mean_guest_neighbors: float = 15.0


@dataclass(frozen=True)
class Encoding:
    """Hosts as encoded for the denoiser.

    Attributes:
        host: the batch of hosts.
        sent: per denoiser layer, what guests read from host atoms.
        pooled: mean over a host's atoms of their scalars, (B, scalars); zero for an empty host.
        counts, volumes: atoms of each host, int64 (B,), and its volume in A^3, (B,).
        host_images, guest_images: of the hosts' cells, within the reach of host atoms and of guests.
    """

    host: Crystals
    sent: tuple[Sent, ...]
    pooled: torch.Tensor
    counts: torch.Tensor
    volumes: torch.Tensor
    host_images: PeriodicImages
    guest_images: PeriodicImages


M = TypeVar("M", bound=nn.Module)


def _as(kind: type[M], modules: nn.ModuleList) -> Iterator[M]:
    """Modules of a list that holds one kind; torch gives them no types."""
    return iter(modules)  # type: ignore[arg-type]


class ScoreNetwork(nn.Module):
    """SE(3)-equivariant score of guests in a host; see `NetworkConfig` for sizes.

    Example:
        encoding = network.encode(hosts)
        scaled = network.denoise(encoding, guests, sigma)      # sigma * score, (G, 3)

    Attributes:
        info: the weights that `load_network` read; a network that is being trained has none.
    """

    info: WeightsInfo

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or NetworkConfig()
        self.embedding = ElementEmbedding(c.scalars)
        edge = {"channels": c.channels, "tensor_channels": c.tensor_channels, "n_basis": c.n_basis, "hidden": c.hidden}
        update = {"scalars": c.scalars, "channels": c.channels, "tensor_channels": c.tensor_channels}

        def message(sender_vectors: bool, mean_neighbors: float) -> Message:
            return Message(c.scalars, c.scalars, **edge, sender_vectors=sender_vectors, mean_neighbors=mean_neighbors)

        self.host_messages = nn.ModuleList(message(k > 0, c.mean_neighbors) for k in range(c.host_layers))
        self.host_updates = nn.ModuleList(
            Update(**update, n_sources=1, has_vectors=k > 0) for k in range(c.host_layers)
        )
        self.from_host = nn.ModuleList(message(True, c.mean_neighbors) for _ in range(c.guest_layers))
        self.from_guest = nn.ModuleList(message(k > 0, c.mean_guest_neighbors) for k in range(c.guest_layers))
        self.guest_updates = nn.ModuleList(
            Update(**update, n_sources=2, has_vectors=k > 0) for k in range(c.guest_layers)
        )
        self.n_noise_features = 16
        self.guest_embedding = ElementEmbedding(c.scalars)
        self.condition = MLP(2 * c.scalars + self.n_noise_features + 2, 2 * c.scalars, c.scalars)
        self.readout = MLP(c.scalars + self.n_noise_features, c.scalars, c.channels)
        nn.init.zeros_(self.readout.second.weight)  # training starts from a zero score

    @property
    def sigma_min(self) -> float:
        """Smallest trained noise level, A."""
        return self.config.sigma_min

    @property
    def sigma_max(self) -> float:
        """Largest trained noise level, A."""
        return self.config.sigma_max

    @property
    def cutoff(self) -> float:
        """Reach of host -> host and host -> guest edges, A."""
        return self.config.host_cutoff

    @property
    def guest_cutoff(self) -> float:
        """Reach of guest -> guest edges, A."""
        return self.config.guest_cutoff

    @property
    def max_atomic_number(self) -> int:
        """Heaviest element for which the network has an embedding."""
        return self.embedding.element.num_embeddings - 1

    def encode(self, host: Crystals) -> Encoding:
        """Features of host atoms, computed once per host; a host may be empty (all-atom generation)."""
        c, counts, x, index = self.config, host.counts, host.positions, host.crystal
        images = periodic_images(host.cells, c.host_cutoff)
        near = neighbor_pairs(x, index, x, index, images, same=True)
        sent, pooled = self.host_features(host.numbers, Rows(index, len(host), counts), near)
        return Encoding(host, sent, pooled, counts, host.volumes, images, periodic_images(host.cells, c.guest_cutoff))

    def denoise(self, encoding: Encoding, guests: Guests, sigma: torch.Tensor) -> torch.Tensor:
        """sigma times the score of each guest, dimensionless, (G, 3).

        Args:
            encoding: result of `encode` for the hosts.
            guests: noised guests of S samples.
            sigma: noise level of each sample in A, (S,).

        Returns:
            Close to -(noised - clean) / sigma at small sigma; the denoised position is `x + sigma * result`.
        """
        host, x, sample = encoding.host, guests.positions, guests.sample
        near_host = neighbor_pairs(x, guests.crystal, host.positions, host.crystal, encoding.host_images)
        near_guest = neighbor_pairs(x, sample, x, sample, encoding.guest_images, guests.host, same=True)
        whole = whole_crystal(encoding.counts, encoding.volumes, guests).to(sigma.dtype)
        return self.guest_scores(encoding.sent, encoding.pooled, guests, sigma, whole, near_host, near_guest)

    # From geometry to result; Python reads only sizes of tensors here, so that CUDA graphs can record it.

    def host_features(
        self, numbers: torch.Tensor, crystal: Rows, near: Neighbors
    ) -> tuple[tuple[Sent, ...], torch.Tensor]:
        """`sent` and `pooled` of an `Encoding`.

        Args:
            numbers: atomic numbers of the N host atoms, int64 (N,).
            crystal: host of each atom, with the number of atoms of each of the B hosts.
            near: host atoms around host atoms.
        """
        edges = edge_features(near, self.config.host_cutoff, self.config.n_basis)
        s: torch.Tensor = self.embedding(numbers)
        v: torch.Tensor | None = None
        for message, update in zip(_as(Message, self.host_messages), _as(Update, self.host_updates), strict=True):
            s, v = update(s, v, [message(message.send(s, v), s, edges)])
        assert crystal.lengths is not None
        pooled = crystal.sum(s) / crystal.lengths.clamp(min=1).to(s.dtype)[:, None]
        return tuple(message.send(s, v) for message in _as(Message, self.from_host)), pooled

    def guest_scores(
        self,
        sent: tuple[Sent, ...],
        pooled: torch.Tensor,
        guests: Guests,
        sigma: torch.Tensor,
        whole: torch.Tensor,
        near_host: Neighbors,
        near_guest: Neighbors,
    ) -> torch.Tensor:
        """The computation of `denoise`.

        Args:
            sent, pooled: of the encoding.
            guests: of S samples; their positions are in the neighbours.
            sigma: A, (S,).
            whole: of `whole_crystal`, (S, 2).
            near_host, near_guest: host atoms and guests around guests.
        """
        c = self.config
        from_host = edge_features(near_host, c.host_cutoff, c.n_basis)
        from_guest = edge_features(near_guest, c.guest_cutoff, c.n_basis)
        noise = self._noise_features(sigma)[guests.sample]
        species = self.guest_embedding(guests.numbers)
        host = Rows(guests.crystal, len(pooled)).gather(pooled)
        s = species + self.condition(torch.cat([species, host, noise, whole[guests.sample]], 1))
        v = None
        for one, host_message, guest_message, update in zip(
            sent,
            _as(Message, self.from_host),
            _as(Message, self.from_guest),
            _as(Update, self.guest_updates),
            strict=True,
        ):
            sources = [host_message(one, s, from_host), guest_message(guest_message.send(s, v), s, from_guest)]
            s, v = update(s, v, sources)
        weights = self.readout(torch.cat([s, noise], 1))
        return (v * weights[:, None]).sum(2) / math.sqrt(c.channels)

    def _noise_features(self, sigma: torch.Tensor) -> torch.Tensor:
        """Gaussians over log sigma, (S, n_noise_features)."""
        c, n = self.config, self.n_noise_features
        place = (torch.log(sigma) - math.log(c.sigma_min)) / math.log(c.sigma_max / c.sigma_min) * (n - 1)
        centers = torch.arange(n, device=sigma.device, dtype=sigma.dtype)
        return 1.5 * torch.exp(-0.5 * (place[:, None] - centers) ** 2)

    def to_dict(self) -> dict[str, Any]:
        """Sizes, for the model card."""
        return asdict(self.config)


def whole_crystal(counts: torch.Tensor, volumes: torch.Tensor, guests: Guests) -> torch.Tensor:
    """Share of guests among the atoms of each sample, and the log of its volume per atom (15 A^3 is 0), (S, 2).

    Both are intensive, so that a supercell with the same content gives the same scores.

    Args:
        counts: atoms of each host, int64 (B,).  volumes: A^3, (B,).
        guests: of S samples.
    """
    n_guests = torch.bincount(guests.sample, minlength=len(guests)).to(volumes.dtype)
    n_atoms = n_guests + counts[guests.host].to(volumes.dtype)
    return torch.stack([n_guests / n_atoms, torch.log(volumes[guests.host] / n_atoms / 15.0)], 1)
