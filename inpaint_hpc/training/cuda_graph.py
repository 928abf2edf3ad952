"""Forward and backward pass of a training step as one CUDA graph.

A step launches over two thousand kernels, and launching them one by one takes several times as long as the GPU needs
to run them.  Recorded once and replayed, they cost one launch.  A graph has fixed sizes, so its inputs are padded:
padding atoms, guests and edges belong to an additional crystal and sample, and to no sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from inpaint_hpc.crystals.batch import Guests
from inpaint_hpc.crystals.neighbors import Neighbors, neighbor_pairs, periodic_images
from inpaint_hpc.kernels.rows import Rows
from inpaint_hpc.network.score_network import ScoreNetwork, whole_crystal

from .batches import DrawnBatch, TrainingBatch, noised

# Sizes vary by some per cent from batch to batch; a batch that does not fit is computed without the graph.
HEADROOM = 1.12
LISTS = ("hosts", "from_host", "from_guest")
# What the rows of each input are.
ROWS_OF = {
    "host_numbers": "atoms", "host_crystal": "atoms", "hosts.lengths": "atoms", "counts": "crystals",
    "numbers": "guests", "sample": "guests", "target": "guests", "weight": "guests", "from_host.lengths": "guests",
    "from_guest.lengths": "guests", "host": "samples", "sigma": "samples", "whole": "samples",
} | {f"{name}.{part}": name for name in LISTS for part in ("sender", "receiver", "vector")}  # fmt: skip

Inputs = dict[str, torch.Tensor]


@torch.no_grad()
def inputs_of(network: ScoreNetwork, batch: TrainingBatch) -> Inputs:
    """Everything that forward and backward pass read from a batch; finding its sizes has waited for the device."""
    c, hosts, guests = network.config, batch.hosts, batch.guests
    counts, x, sample = hosts.counts, guests.positions, guests.sample
    images = periodic_images(hosts.cells, c.host_cutoff)
    far_images = images if c.guest_cutoff == c.host_cutoff else periodic_images(hosts.cells, c.guest_cutoff)
    lists = {
        "hosts": neighbor_pairs(hosts.positions, hosts.crystal, hosts.positions, hosts.crystal, images, same=True),
        "from_host": neighbor_pairs(x, guests.crystal, hosts.positions, hosts.crystal, images),
        "from_guest": neighbor_pairs(x, sample, x, sample, far_images, guests.host, same=True),
    }
    inputs = {
        "host_numbers": hosts.numbers,
        "host_crystal": hosts.crystal,
        "counts": counts,
        "numbers": guests.numbers,
        "sample": sample,
        "target": batch.target,
        "weight": torch.full((len(x),), 1 / len(x), device=x.device),
        "host": guests.host,
        "sigma": batch.sigma,
        "whole": whole_crystal(counts, hosts.volumes, guests),
    }
    for name, near in lists.items():
        inputs |= {f"{name}.{part}": getattr(near, part) for part in ("sender", "receiver", "vector", "lengths")}
    return inputs


def sizes_of(inputs: Inputs) -> dict[str, int]:
    """Rows of each kind."""
    return {kind: len(inputs[name]) for name, kind in ROWS_OF.items()}


def enough_for(found: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sizes that hold batches like those."""
    found = list(found)
    largest = {kind: max(sizes[kind] for sizes in found) for kind in found[0]}
    return {kind: n if kind == "crystals" else int(HEADROOM * n) + 16 for kind, n in largest.items()}


def padding(sizes: dict[str, int], device: torch.device) -> Inputs:
    """Inputs of these sizes of which every row is padding; one sample and one crystal more, for the rows of padding."""
    rows = {**sizes, "samples": sizes["samples"] + 1, "crystals": sizes["crystals"] + 1}

    def whole_numbers(name: str, value: int = 0) -> torch.Tensor:
        return torch.full((rows[ROWS_OF[name]],), value, dtype=torch.long, device=device)

    def numbers(name: str, *shape: int, value: float = 0.0) -> torch.Tensor:
        return torch.full((rows[ROWS_OF[name]], *shape), value, device=device)

    inputs = {name: whole_numbers(name) for name in ("host_numbers", "numbers", "counts")}
    inputs["host_crystal"] = whole_numbers("host_crystal", sizes["crystals"])
    inputs["host"] = whole_numbers("host", sizes["crystals"])
    inputs["sample"] = whole_numbers("sample", sizes["samples"])
    inputs |= {"target": numbers("target", 3), "weight": numbers("weight"), "whole": numbers("whole", 2)}
    inputs["sigma"] = numbers("sigma", value=1.0)
    for name in LISTS:
        senders = sizes["guests" if name == "from_guest" else "atoms"]
        # Spread over all atoms, because one program adds up all that one atom sends.
        inputs[f"{name}.sender"] = torch.arange(rows[name], device=device) % max(senders, 1)
        inputs[f"{name}.receiver"] = whole_numbers(f"{name}.receiver")
        inputs[f"{name}.vector"] = numbers(f"{name}.vector", 3, value=100.0)  # beyond every cutoff
        inputs[f"{name}.lengths"] = whole_numbers(f"{name}.lengths")
    return inputs


@torch.no_grad()
def fill(target: Inputs, inputs: Inputs, pad: Inputs) -> None:
    """Write inputs into larger ones, and padding behind them."""
    to, what = [], []
    for name, values in inputs.items():
        n = len(values)
        to += [target[name][:n], target[name][n:]]
        what += [values, pad[name][n:]]
    torch._foreach_copy_(to, what)
    # The additional crystal has the atoms that pad.
    target["counts"][-1].fill_(len(target["host_numbers"]) - len(inputs["host_numbers"]))


def loss_of(network: ScoreNetwork, inputs: Inputs, precision: str = "float32", padded: bool = True) -> torch.Tensor:
    """Mean over the guests of the squared error of sigma times the score, summed over x, y, z."""
    atoms, guests = len(inputs["host_numbers"]), len(inputs["numbers"])
    near = {
        name: Neighbors(
            inputs[f"{name}.receiver"], inputs[f"{name}.sender"], inputs[f"{name}.vector"],
            inputs[f"{name}.receiver"][:, None], inputs[f"{name}.lengths"],
            guests if name == "from_guest" else atoms, padded,
        )
        for name in LISTS
    }  # fmt: skip
    crystal = Rows(inputs["host_crystal"], len(inputs["counts"]), inputs["counts"])
    placed = Guests(inputs["numbers"], inputs["target"], inputs["sample"], inputs["host"])
    with torch.autocast(inputs["target"].device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        sent, pooled = network.host_features(inputs["host_numbers"], crystal, near["hosts"])
        predicted = network.guest_scores(
            sent, pooled, placed, inputs["sigma"], inputs["whole"], near["from_host"], near["from_guest"]
        )
    return (((predicted.float() - inputs["target"]) ** 2).sum(1) * inputs["weight"]).sum()


@dataclass
class GraphedLoss:
    """Loss and gradients of batches by a CUDA graph, recorded at the first call.

    Gradients stay the same tensors between calls and must not be replaced elsewhere.

    Attributes:
        network: whose gradients.
        sizes: of the graph, see `enough_for`.
        precision: of the network, see `TrainingConfig`.
        without: batches that did not fit and were computed without the graph.
    """

    network: ScoreNetwork
    sizes: dict[str, int]
    precision: str = "float32"
    without: int = 0

    def __post_init__(self) -> None:
        """Allocate the inputs; nothing is recorded yet."""
        self.device = next(self.network.parameters()).device
        self._pad = padding(self.sizes, self.device)
        self._inputs = {name: values.clone() for name, values in self._pad.items()}
        self._beside = torch.cuda.Stream()
        self._recorded: tuple[torch.cuda.CUDAGraph, torch.Tensor] | None = None

    def __call__(self, drawn: DrawnBatch) -> torch.Tensor:
        """The loss of a batch, on the device; its gradients are in the parameters."""
        main = torch.cuda.current_stream()
        # Concurrent with the previous step on the GPU: waiting for sizes waits for these operations alone.
        with torch.cuda.stream(self._beside):
            inputs = inputs_of(self.network, noised(drawn, self.device))
        main.wait_stream(self._beside)
        for values in inputs.values():
            values.record_stream(main)
        if any(n > self.sizes[kind] for kind, n in sizes_of(inputs).items()):
            return self._plain(inputs)
        fill(self._inputs, inputs, self._pad)
        if self._recorded is None:
            self._recorded = self._record()
        graph, loss = self._recorded
        graph.replay()
        return loss.clone()

    def _record(self) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):  # compiles kernels and lets libraries allocate their memory
                self._clear()
                loss_of(self.network, self._inputs, self.precision).backward()
        torch.cuda.current_stream().wait_stream(aside)
        self._clear()
        graph = torch.cuda.CUDAGraph()
        # Other threads (the loader's) may continue to allocate memory.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss = loss_of(self.network, self._inputs, self.precision)
            loss.backward()
        return graph, loss.detach()

    def _clear(self) -> None:
        for parameter in self.network.parameters():
            parameter.grad = None

    def _plain(self, inputs: Inputs) -> torch.Tensor:
        self.without += 1
        parameters = list(self.network.parameters())
        recorded = [p.grad for p in parameters]
        self._clear()
        loss = loss_of(self.network, inputs, self.precision, padded=False)
        loss.backward()
        if self._recorded is not None:
            for parameter, grad in zip(parameters, recorded, strict=True):
                if grad is not None:
                    grad.copy_(parameter.grad) if parameter.grad is not None else grad.zero_()
                parameter.grad = grad
        return loss.detach()
