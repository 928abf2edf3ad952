"""A card by its measured figures: how long a call takes, and how much of that is work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """A call of a network.

    Attributes:
        kind: 'sampling', 'energies', 'forces' or 'relaxation', which is forces and stress.
        count: samples or structures.
        size: guests of all samples, or atoms of all structures.
        evaluations: of a network, the encoding of hosts is one.
    """

    kind: str
    count: int
    size: int
    evaluations: int = 1


@dataclass(frozen=True)
class Cost:
    """Seconds of a call that has the card to itself.

    Attributes:
        length: from its begin to its end.
        launching: in which the caller launches kernels, and its interpreter does nothing else.
        kernels: in which the card computes.
        work: at the rate of full batches.
    """

    length: float
    launching: float
    kernels: float
    work: float


class Card:
    """The figures of a file such as `benchmarks/cards/h200.json`."""

    def __init__(self, path: Path) -> None:
        figures = json.loads(path.read_text(encoding="utf-8"))
        self.name = figures["name"]
        self._figures = figures
        few, many = (1.0 / figures["samples_per_s"][guests] for guests in ("1", "4"))
        self._guest = (many - few) / 3.0
        self._sample = few - self._guest

    def cost(self, call: Call) -> Cost:
        """What a call costs: kernels are launched one by one, which takes the time unless the batch is large."""
        f = self._figures
        if call.kind == "sampling":
            share = call.evaluations / f["sampling_call_evaluations"]
            work = share * (call.count * self._sample + call.size * self._guest)
            launching, launches = share * f["sampling_call_s"], call.evaluations * f["sampling_launches"]
        else:
            share = f["chgnet_energies_alone"] if call.kind == "energies" else 1.0
            work = share * call.size * f["chgnet_us_per_atom"] * 1e-6
            launching, launches = share * f["chgnet_call_s"], share * f["chgnet_launches"]
        kernels = max(work, launches * f["kernel_us"] * 1e-6)
        return Cost(max(launching, work), launching, kernels, work)
