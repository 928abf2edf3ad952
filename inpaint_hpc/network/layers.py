"""Building blocks of the score network: edges, messages, updates.

Features are irreps of O(3) up to l = 2, kept component-first and channel-last, so that channels are contiguous:
scalars (n, C), vectors 1o as (n, 3, C), tensors 2e as (n, 5, C).  Spherical harmonics and Wigner coefficients are
e3nn's; the tensor product of a message is written out, since e3nn's general one takes twice the time on a CPU
(it is the test reference).  Linear maps follow e3nn's convention: unit-normal weights, scaled by 1/sqrt(fan-in) when
used, so that one learning rate suits all layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn.functional import layer_norm, silu

from inpaint_hpc.crystals.neighbors import Neighbors
from inpaint_hpc.kernels.available import use_kernels
from inpaint_hpc.kernels.rows import Rows
from inpaint_hpc.network.without_compiler import o3

# Below this distance (A) the direction of an edge fades out, so that messages stay smooth when a noised guest passes
# through another atom.
_CORE = 0.1


class Linear(nn.Module):
    """y = x W / sqrt(fan-in) + b over the last axis; without bias it acts on vectors and tensors as well."""

    def __init__(self, n_in: int, n_out: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.scale = 1 / math.sqrt(n_in)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., n_in) -> (..., n_out)."""
        y = x @ (self.weight * self.scale)
        return y if self.bias is None else y + self.bias


class MLP(nn.Module):
    """One hidden SiLU layer, scaled to unit variance."""

    GAIN = 1.6765  # 1 / sqrt(E[silu(z)^2]) for a standard normal z

    def __init__(self, n_in: int, n_hidden: int, n_out: int) -> None:
        super().__init__()
        self.first = Linear(n_in, n_hidden, bias=True)
        self.second = Linear(n_hidden, n_out, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., n_in) -> (..., n_out)."""
        return self.second(silu(self.first(x)) * self.GAIN)


@dataclass(frozen=True)
class Edges:
    """Neighbours with the quantities that all layers need.

    Attributes:
        sender, receiver: rows of the atoms at both ends of each edge; edges are sorted by receiver.
        radial: Bessel functions of the distance times the cutoff envelope, (E, n_basis).
        envelope: polynomial cutoff, (E, 1): 1 at zero distance, smoothly 0 at the cutoff.
        unit: l = 1 harmonics (component-normalised direction, faded out below 0.1 A), (E, 3).
        quadrupole: l = 2 harmonics, (E, 5).
    """

    sender: Rows
    receiver: Rows
    radial: torch.Tensor
    envelope: torch.Tensor
    unit: torch.Tensor
    quadrupole: torch.Tensor

    @cached_property
    def geometry(self) -> torch.Tensor:
        """Harmonics and envelope side by side, (E, 9), for the kernels."""
        return torch.cat([self.unit, self.quadrupole, self.envelope], 1)


def edge_features(neighbors: Neighbors, cutoff: float, n_basis: int) -> Edges:
    """Radial and angular functions of neighbour vectors (DimeNet's Bessel basis and envelope, p = 6)."""
    vector = neighbors.vector
    distance = vector.norm(dim=1, keepdim=True)
    x = distance / cutoff
    p = 6.0
    envelope = 1 - 0.5 * (p + 1) * (p + 2) * x**p + p * (p + 2) * x ** (p + 1) - 0.5 * p * (p + 1) * x ** (p + 2)
    envelope = envelope * (x < 1)
    n = torch.arange(1, n_basis + 1, device=vector.device, dtype=vector.dtype)
    # sin(n pi x) / x is finite at zero; dividing by n keeps the functions of order one there.
    radial = 2 * torch.sinc(n * x) * torch.sqrt(n) * envelope
    direction = vector / torch.sqrt(distance**2 + _CORE**2)
    harmonics = o3.spherical_harmonics("1o + 2e", direction, normalize=False, normalization="component")
    sender = Rows(neighbors.sender, neighbors.n_senders)
    receiver = Rows(neighbors.receiver, len(neighbors.lengths), neighbors.lengths, neighbors.padded)
    return Edges(sender, receiver, radial, envelope, harmonics[:, :3], harmonics[:, 3:])


@dataclass(frozen=True)
class Sent:
    """What a message layer reads from the senders; computed once and cached for host atoms.

    Attributes:
        scalars (N, C), vectors (N, 3, C) or None where senders carry none, hidden (N, H) of the radial network.
    """

    scalars: torch.Tensor
    vectors: torch.Tensor | None
    hidden: torch.Tensor


class Message(nn.Module):
    """Tensor-product messages, summed over neighbours: scalars (R, C), vectors (R, 3, C), tensors (R, 5, Ct).

    Paths: 0e x 0e -> 0e, 1o x 1o -> 0e, 0e x 1o -> 1o, 1o x 0e -> 1o, (1o . Y1) Y1 -> 1o, 0e x 2e -> 2e.
    The weights of an edge are a network of the distance and of the scalars at both ends; the receiver's scalars of a
    guest hold its noise level.
    """

    def __init__(
        self,
        sender_scalars: int,
        receiver_scalars: int,
        channels: int,
        tensor_channels: int,
        n_basis: int,
        hidden: int,
        sender_vectors: bool,
        mean_neighbors: float,
    ) -> None:
        super().__init__()
        self.channels, self.tensor_channels, self.sender_vectors = channels, tensor_channels, sender_vectors
        self.norm = 1 / math.sqrt(mean_neighbors)
        self.scalars = Linear(sender_scalars, channels)
        self.vectors = Linear(channels, channels) if sender_vectors else None
        self.sender_hidden = Linear(sender_scalars, hidden)
        self.receiver_hidden = Linear(receiver_scalars, hidden, bias=True)
        self.radial = Linear(n_basis, hidden)
        n_paths = 5 if sender_vectors else 2
        self.weights = Linear(hidden, n_paths * channels + tensor_channels, bias=True)

    def send(self, scalars: torch.Tensor, vectors: torch.Tensor | None) -> Sent:
        """Project the senders' features; `vectors` (N, 3, C) are ignored where the layer takes none."""
        v = None if self.vectors is None else self.vectors(vectors)
        return Sent(self.scalars(scalars), v, self.sender_hidden(scalars))

    def forward(self, sent: Sent, receiver_scalars: torch.Tensor, edges: Edges) -> tuple[torch.Tensor, ...]:
        """Sums of messages at R receivers: scalars (R, C), vectors (R, 3, C), tensors (R, 5, Ct)."""
        to_receiver = self.receiver_hidden(receiver_scalars)
        if use_kernels(edges.radial) and not edges.radial.requires_grad:
            return self._by_kernels(sent, to_receiver, edges)
        C, Ct, E = self.channels, self.tensor_channels, len(edges.radial)
        hidden = self.radial(edges.radial) + edges.sender.gather(sent.hidden)
        hidden = hidden + edges.receiver.gather(to_receiver)
        weights = self.weights(silu(hidden) * MLP.GAIN) * (edges.envelope * self.norm)
        s = edges.sender.gather(sent.scalars)
        parts = weights.split([C] * ((weights.shape[1] - Ct) // C) + [Ct], 1)
        unit = edges.unit[:, :, None]
        to_scalar, along = parts[0] * s, parts[1] * s
        if sent.vectors is not None:
            v = edges.sender.gather(sent.vectors.reshape(-1, 3 * C)).view(E, 3, C)
            projected = (v * unit).sum(1) / math.sqrt(3)
            to_scalar = to_scalar + parts[2] * projected
            along = along + parts[3] * projected
            to_vector = along[:, None] * unit + parts[4][:, None] * v
        else:
            to_vector = along[:, None] * unit
        to_tensor = (parts[-1] * s[:, :Ct])[:, None] * edges.quadrupole[:, :, None]
        flat = torch.cat([to_scalar, to_vector.reshape(E, 3 * C), to_tensor.reshape(E, 5 * Ct)], 1)
        summed = edges.receiver.sum(flat)
        scalars, vectors, tensors = summed.split([C, 3 * C, 5 * Ct], 1)
        return scalars, vectors.reshape(-1, 3, C), tensors.reshape(-1, 5, Ct)

    def _by_kernels(self, sent: Sent, to_receiver: torch.Tensor, edges: Edges) -> tuple[torch.Tensor, ...]:
        """The same on a GPU; only the hidden layer's result is stored in memory per edge."""
        from inpaint_hpc.kernels.edge_hidden import edge_hidden
        from inpaint_hpc.kernels.message import message_sums

        radial, dtype, device = edges.radial, edges.radial.dtype, edges.radial.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        hidden = edge_hidden(
            radial, self.radial.weight * self.radial.scale, sent.hidden.to(dtype), to_receiver.to(dtype),
            edges.sender, edges.receiver, MLP.GAIN, low,
        )  # fmt: skip
        last = self.weights
        assert last.bias is not None  # for mypy: made with one
        weights = torch.addmm(last.bias * self.norm, hidden, last.weight * (last.scale * self.norm))
        vectors = None if sent.vectors is None else sent.vectors.to(dtype)
        return message_sums(
            weights, edges.geometry, sent.scalars.to(dtype), vectors, edges.sender, edges.receiver, self.tensor_channels
        )


class Update(nn.Module):
    """Node update from summed messages; tensors are contracted here with vectors and with themselves."""

    def __init__(self, scalars: int, channels: int, tensor_channels: int, n_sources: int, has_vectors: bool) -> None:
        super().__init__()
        n_vectors = channels * (n_sources + has_vectors)
        self.has_vectors = has_vectors
        self.channels, self.tensor_channels = channels, tensor_channels
        self.vectors = Linear(n_vectors, 2 * channels)
        self.tensors = Linear(tensor_channels * n_sources, tensor_channels)
        self.contracted = Linear(tensor_channels, channels)
        n_in = scalars + channels * n_sources + channels + tensor_channels
        self.mlp = MLP(n_in, 2 * scalars, scalars + 2 * channels)
        self.scalars = scalars
        wigner = o3.wigner_3j(2, 1, 1, dtype=torch.float64) * math.sqrt(15)
        self.register_buffer("wigner", wigner, persistent=False)

    def forward(
        self, s: torch.Tensor, v: torch.Tensor | None, sources: list[tuple[torch.Tensor, ...]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """New scalars (n, scalars) and vectors (n, 3, C) of atoms, from their own and the messages of each source."""
        summed_s, summed_v, summed_t = zip(*sources, strict=True)
        a, b = self.vectors(torch.cat(([v] if self.has_vectors else []) + list(summed_v), -1)).chunk(2, -1)
        t = self.tensors(torch.cat(summed_t, -1))
        invariants = torch.cat([s, *summed_s, (a * b).mean(1), (t * t).mean(1)], 1)
        out = self.mlp(layer_norm(invariants, invariants.shape[1:]))
        ds, gate_a, gate_t = out.split([self.scalars, self.channels, self.channels], 1)
        # In two steps: as one product of three it becomes a million products of 3 x 3 matrices on a GPU.
        turning = torch.einsum("mik,nmc->nikc", self.wigner.to(t.dtype), t)
        turned = (turning * a[:, None, :, : self.tensor_channels]).sum(2)
        dv = (gate_a[:, None] * a + gate_t[:, None] * self.contracted(turned)).to(s.dtype)
        v = dv if v is None else v + dv
        v = v * torch.rsqrt(1 + (v * v).mean((1, 2), keepdim=True))
        s = s + ds
        return layer_norm(s, s.shape[1:]), v
