"""Pictures of intercalation hulls and voltage curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .voltage import VoltageProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def voltage_picture(profiles: Sequence[VoltageProfile], path: str | Path) -> Path:
    """One row per profile: formation energies with their lower hull, and the steps of the voltage.

    Args:
        profiles: at least one; of many, the first twelve are drawn.
        path: a .png, .pdf or .svg file; replaced when the picture is complete.

    Raises:
        InputError: nothing to draw, or another format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if not profiles:
        raise InputError("no voltage profile to draw")
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"{path}: a picture is .png, .pdf or .svg")
    shown = list(profiles)[:12]
    figure = Figure(figsize=(9, 3 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, profile in zip(figure.subplots(len(shown), 2, squeeze=False), shown, strict=True):
        _hull(row[0], profile)
        _curve(row[1], profile)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:].lower())
    return path


def _hull(axes: Axes, profile: VoltageProfile) -> None:
    hull = profile.hull
    axes.plot(hull.counts, hull.formation_energies, "o", color="0.6", label="candidates")
    axes.plot(hull.counts[hull.stable], hull.formation_energies[hull.stable], "o-", color="tab:blue", label="hull")
    axes.set(title=f"{profile.host} + {profile.symbol}", ylabel="formation energy, eV/cell")
    _guests(axes, profile)
    axes.legend(frameon=False)


def _curve(axes: Axes, profile: VoltageProfile) -> None:
    edges = np.array([profile.steps[0].start, *(step.stop for step in profile.steps)])
    volts = np.array([step.voltage for step in profile.steps])
    axes.stairs(volts, edges, baseline=None, color="tab:red", linewidth=2)
    title, total = f"CHGNet {profile.chgnet}, relaxed: {profile.treatment}", profile.total()
    if profile.error is not None:
        error = profile.error.volts
        axes.stairs(volts + error, edges, baseline=volts - error, fill=True, color="tab:red", alpha=0.15, linewidth=0)
        title += f"; typical error {error:.1f} V"
    if total["formula"]:
        title += (
            f"\n{total['formula']}: {total['capacity_mAh_per_g_host']:.0f} mAh/g, "
            f"{total['energy_Wh_per_kg_host']:.0f} Wh/kg of the host"
        )
    axes.set_title(title, fontsize="medium")
    axes.set_ylabel(f"V against {profile.label}")
    _guests(axes, profile)
    capacity = profile.milliampere_hours_per_gram
    if capacity is not None:
        above = axes.secondary_xaxis(
            "top", functions=(partial(np.multiply, capacity), partial(np.multiply, 1.0 / capacity))
        )
        above.set_xlabel("mAh per g of the host")


def _guests(axes: Axes, profile: VoltageProfile) -> None:
    """Guests of the host's cell along x, whole numbers marked."""
    from matplotlib.ticker import MaxNLocator

    parts = dict(re.findall(r"([A-Z][a-z]?)(\d+)", profile.formula))
    cell = "".join(f"{symbol}$_{{{count}}}$" if count != "1" else symbol for symbol, count in parts.items())
    # Of an element that the host holds already, x would not be all of it.
    known = bool(cell) and profile.symbol not in parts
    axes.set_xlabel(f"x in {profile.symbol}$_x${cell}" if known else f"{profile.symbol} added to the host cell")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
