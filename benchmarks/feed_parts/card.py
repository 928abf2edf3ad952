"""A card by its measured figures: how long a call takes, and how much of that is work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call of a network.

    Attributes:
        kind: 'sampling', 'energies', 'forces' or 'relaxation', which is forces and stress.
        count: samples or structures.
        size: guests of all samples, or atoms of all structures.
        evaluations: of a network, the encoding of hosts is one.
        useful: share of it that is work; the rest was computed in vain.
    """

    kind: str
    count: int
    size: int
    evaluations: int = 1
    useful: float = 1.0


@dataclass(frozen=True)
class Cost:
    """Seconds of a call that has the card to itself.

    Attributes:
        length: from its begin to its end.
        launching: in which the caller launches kernels, and its interpreter does nothing else.
        kernels: in which the card computes.
        work: what is useful, at the rate of full batches.
    """

    length: float
    launching: float
    kernels: float
    work: float


CARDS = Path(__file__).resolve().parents[1] / "cards"
ONE_GUEST, FOUR_GUESTS = "10-20 atoms, 1 guest", "10-20 atoms, 4 guests"  # of the stage `sampling`


def figures_of(report: dict[str, Any]) -> dict[str, Any]:
    """Figures of a card from what the stages `sampling` and `chgnet` of `gpu.py` found.

    What they do not measure is that of the H200: launches of CHGNet and its energies alone, which were counted, and the
    time of a small kernel, which was fitted.

    Raises:
        KeyError: a stage is missing or failed.
    """
    figures = json.loads((CARDS / "h200.json").read_text(encoding="utf-8"))
    sampling, chgnet = report["stages"]["sampling"], report["stages"]["chgnet"]
    rows = {name: [row for row in sampling["rates"] if row["host"] == name] for name in (ONE_GUEST, FOUR_GUESTS)}
    measured = {
        "name": report["stages"].get("doctor", {}).get("card", report["device"]),
        "sampling_call_s": min(row["seconds"] for row in sampling["rates"]),
        "sampling_call_evaluations": sampling["network_evaluations"] + 1,
        "sampling_launches": sampling["kernels"][ONE_GUEST]["launches_per_evaluation"],
        "samples_per_s": {
            "1": max(row["samples_per_s"] for row in rows[ONE_GUEST]),
            "4": max(row["samples_per_s"] for row in rows[FOUR_GUESTS]),
        },
        "chgnet_call_s": min(row["seconds"] for row in chgnet["evaluation"]),
        "chgnet_us_per_atom": chgnet["best_us_per_atom_step"],
    }
    return figures | measured | {"from": dict.fromkeys(measured, "measured: benchmarks/gpu.py")}


class Card:
    """What calls cost on a card with these figures."""

    def __init__(self, figures: dict[str, Any]) -> None:
        self.name = figures["name"]
        self._figures = figures
        few, many = (1.0 / figures["samples_per_s"][guests] for guests in ("1", "4"))
        self._guest = (many - few) / 3.0
        self._sample = few - self._guest

    @classmethod
    def read(cls, path: Path) -> Card:
        """Of a file such as `benchmarks/cards/h200.json`, or of one that `gpu.py` wrote."""
        figures = json.loads(path.read_text(encoding="utf-8"))
        return cls(figures_of(figures) if "stages" in figures else figures)

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
        return Cost(max(launching, work), launching, kernels, work * call.useful)
