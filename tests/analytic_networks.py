"""Score functions of known distributions on the torus, in place of a trained network: what samplers draw can be checked
against what they should draw.

All sums are written out in a fixed order, so that a row of the result does not depend on the other rows: with these
networks, samples must be equal to the last bit however they are batched.  Cells must be orthorhombic: there the wrapped
normal is a product over the axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from inpaint_hpc.crystals.batch import Crystals, Guests

IMAGES = 7


def wrapped_normal(delta: torch.Tensor, variance: torch.Tensor, edges: torch.Tensor):
    """Log density (n,) and score (n, 3) of a normal of `variance` (n,) wrapped at cell edges (n, 3)."""
    delta = delta - edges * torch.round(delta / edges)
    variance = variance[:, None]
    total, moment = torch.zeros_like(delta), torch.zeros_like(delta)
    smallest = delta * delta
    for image in range(-IMAGES, IMAGES + 1):
        shifted = delta + image * edges
        weight = torch.exp((smallest - shifted * shifted) / (2 * variance))
        total = total + weight
        moment = moment + weight * shifted
    axes = torch.log(total) - smallest / (2 * variance) - 0.5 * torch.log(variance)
    return axes[:, 0] + axes[:, 1] + axes[:, 2], -(moment / total) / variance


def mixture_score(deltas: list[torch.Tensor], log_weights: list, variance: torch.Tensor, edges: torch.Tensor):
    """Score (n, 3) of a mixture of wrapped normals; `deltas` and `log_weights` have one entry for each of them."""
    parts = [wrapped_normal(delta, variance, edges) for delta in deltas]
    logs = [log + weight for (log, _), weight in zip(parts, log_weights, strict=True)]
    largest = logs[0]
    for log in logs[1:]:
        largest = torch.maximum(largest, log)
    total, moment = torch.zeros_like(largest), torch.zeros_like(deltas[0])
    for log, (_, score) in zip(logs, parts, strict=True):
        weight = torch.exp(log - largest)
        total = total + weight
        moment = moment + weight[:, None] * score
    return moment / total[:, None]


@dataclass
class Counting:
    """Counts calls, and notes the noise level of each evaluation."""

    encodings: int = 0
    evaluations: int = 0
    sigmas: list[float] = field(default_factory=list)


class SiteNetwork:
    """Guests are independent; every host atom makes one site at `offset` from it, with a weight for its element.

    Attributes:
        weights: atomic number of the host atom -> relative weight of its site.
        width: standard deviation of a site in A.
    """

    sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64
    cutoff = guest_cutoff = 4.0

    def __init__(self, weights: dict[int, float], width: float = 0.1, offset=(0.7, -0.4, 0.3)) -> None:
        self.weights, self.width, self.offset = weights, width, torch.tensor(offset, dtype=torch.float64)
        self.count = Counting()

    def encode(self, hosts: Crystals) -> Crystals:
        self.count.encodings += 1
        return hosts

    def denoise(self, hosts: Crystals, guests: Guests, sigma: torch.Tensor) -> torch.Tensor:
        self.count.evaluations += 1
        self.count.sigmas.append(float(sigma[0]))
        result = torch.zeros_like(guests.positions)
        for row in range(len(hosts)):
            mine = torch.nonzero(guests.crystal == row)[:, 0]
            atoms = torch.nonzero(hosts.crystal == row)[:, 0].tolist()
            x, s = guests.positions[mine], sigma[guests.sample[mine]]
            edges = torch.diagonal(hosts.cells[row]).expand_as(x)
            sites = [hosts.positions[atom] + self.offset for atom in atoms]
            weights = [torch.log(torch.tensor(self.weights[int(hosts.numbers[atom])]).double()) for atom in atoms]
            score = mixture_score([x - site for site in sites], weights, s * s + self.width**2, edges)
            result[mine] = s[:, None] * score
        return result


class PairNetwork:
    """Samples of two guests, an anchor and a partner: the distribution of their difference is given, that of their
    centre uniform.

    The joint distribution of all-atom generation for a molecule of two atoms: invariant to translation.  Given the
    anchor, the partner is at anchor + `offsets[k]` with probability `weights[k]` and standard deviation `width`.
    """

    sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64
    cutoff = guest_cutoff = 4.0

    def __init__(self, anchor: int, offsets, weights, width: float) -> None:
        self.anchor, self.width = anchor, width
        self.offsets = torch.tensor(offsets, dtype=torch.float64)
        self.log_weights = list(torch.log(torch.tensor(weights, dtype=torch.float64)))
        self.count = Counting()

    def encode(self, hosts: Crystals) -> Crystals:
        self.count.encodings += 1
        return hosts

    def denoise(self, hosts: Crystals, guests: Guests, sigma: torch.Tensor) -> torch.Tensor:
        self.count.evaluations += 1
        self.count.sigmas.append(float(sigma[0]))
        anchors = torch.nonzero(guests.numbers == self.anchor)[:, 0]
        partners = torch.nonzero(guests.numbers != self.anchor)[:, 0]
        assert torch.equal(guests.sample[anchors], guests.sample[partners])
        difference = guests.positions[partners] - guests.positions[anchors]
        edges = torch.diagonal(hosts.cells[guests.host], dim1=1, dim2=2)
        # Each of the two atoms has noise of its own.
        variance = self.width**2 + 2 * sigma * sigma
        score = mixture_score([difference - offset for offset in self.offsets], self.log_weights, variance, edges)
        result = torch.zeros_like(guests.positions)
        result[partners] = sigma[:, None] * score
        result[anchors] = -sigma[:, None] * score
        return result


class LimitedMemory:
    """A network on a device with memory for `limit` guests: more raise the out-of-memory error of that device."""

    def __init__(self, network, limit: int, error=torch.cuda.OutOfMemoryError) -> None:
        self.network, self.limit, self.error, self.failures = network, limit, error, 0
        self.sigma_min, self.sigma_max, self.dtype = network.sigma_min, network.sigma_max, network.dtype

    def encode(self, hosts: Crystals):
        return self.network.encode(hosts)

    def denoise(self, encoding, guests: Guests, sigma: torch.Tensor) -> torch.Tensor:
        if len(guests.numbers) > self.limit:
            self.failures += 1
            raise self.error("out of memory")
        return self.network.denoise(encoding, guests, sigma)
