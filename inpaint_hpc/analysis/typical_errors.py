"""How far off voltages are, as measured on known electrodes: the only place that holds these figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class VoltageError:
    """Mean absolute error of average voltages against the Materials Project's.

    Attributes:
        volts: V.
        interval: 95 % bootstrap interval, V.
        pairs: electrodes that it was measured on.
        ions: of these, by atomic number of the guest.
        source: what measured it.
    """

    volts: float
    interval: tuple[float, float]
    pairs: int
    ions: Mapping[int, int]
    source: str

    @property
    def resolution(self) -> float:
        """Voltage difference, or energy per guest and charge in eV, below which nothing is told apart: the upper end of
        the interval, for the error itself is known no better."""
        return self.interval[1]

    def as_dict(self, ion: int) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mean_absolute_V": self.volts,
            "interval_V": list(self.interval),
            "electrodes": self.pairs,
            "electrodes_of_ion": self.ions[ion],
            "source": self.source,
        }


# By treatment and CHGNet weights.  Guests placed by the model, all atoms and the cell relaxed, 0.1 eV/A.
MEASURED = {
    ("cell", "0.3.0"): VoltageError(
        0.27,
        (0.21, 0.34),
        40,
        {3: 26, 20: 6, 30: 3, 12: 2, 11: 1, 19: 1, 13: 1},
        "benchmarks/voltages.py electrodes_dev.h5 --pairs 40 --fmax 0.1",
    )
}


def voltage_error(ion: int, treatment: str, chgnet: str) -> VoltageError | None:
    """The measured error for this treatment, potential and ion; None where it was not measured."""
    found = MEASURED.get((treatment, chgnet))
    return found if found is not None and ion in found.ions else None
