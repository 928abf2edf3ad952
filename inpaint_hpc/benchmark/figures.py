"""Figures of a benchmark, as PNG and SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .score import FIRST, GROUPS, ScoredTask, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_figures(folder: Path, scored: Sequence[ScoredTask]) -> list[Path]:
    """Write each figure as .png and .svg, `training` only where all distances are known; returns the files."""
    from matplotlib.figure import Figure

    draw: dict[str, tuple[Callable[[Axes, Sequence[ScoredTask]], None], tuple[float, float]]] = {
        "cumulative": (_cumulative, (5.0, 3.6)),
        "recall": (_recall, (5.0, 3.6)),
        "guests": (_guests, (5.6, 3.6)),
        "anions": (_anions, (7.5, 3.6)),
        "elements": (_elements, (9.0, 4.8)),
    }
    if all(one.training_distance is not None for one in scored):
        draw["training"] = (_training, (5.6, 3.6))
    written = []
    for name, (function, size) in draw.items():
        figure = Figure(figsize=size, layout="constrained")
        function(figure.add_subplot(), scored)
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            _save(figure, path)
            written.append(path)
    return written


def write_evaluations(path: Path, points: Sequence[Mapping[str, Any]]) -> None:
    """Draw shares of several benchmarks against the network evaluations of a sample.

    Args:
        path: .png, .svg or .pdf.
        points: rows of `summary`, each with `nfe` and `weights`, its line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for weights in dict.fromkeys(point["weights"] for point in points):
        part = sorted((point for point in points if point["weights"] == weights), key=lambda point: point["nfe"])
        for name, label, style in (("one_sample", "one sample", "o--"), ("top1", "first", "o-")):
            value, low, high = (100 * np.array([point[name + end] for point in part]) for end in ("", "_low", "_high"))
            error = np.maximum(0.0, [value - low, high - value])
            evaluations = [point["nfe"] for point in part]
            axes.errorbar(evaluations, value, yerr=error, fmt=style, capsize=2, label=f"{label}, weights {weights}")
    _percent_axis(axes, "network evaluations of a sample")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, loc="lower right")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import rc_context

    # Without salt and date the same results give the same file.
    with rc_context({"svg.hashsalt": "inpaint_hpc"}):
        date = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix)
        figure.savefig(path, dpi=150, metadata={date: None} if date else None)


def _cumulative(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Share of tasks whose first candidate is within a distance, by ion."""
    for row in summary(scored, "ion"):
        curve = {0.0: 0.0, **{float(limit): share for limit, share in row["within_A"].items()}}
        axes.plot(list(curve), [100 * share for share in curve.values()], label=row["group"])
    _percent_axis(axes, "RMSD of the guests of the first candidate (A)")
    axes.legend(frameon=False)


def _recall(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Share of tasks with a right one among the first k candidates, ordered in two ways."""
    row = summary(scored, "ion")[-1]
    for name, label in (("recall", "by energy"), ("recall_by_agreement", "by agreement")):
        axes.plot(FIRST, [100 * row[name][str(k)] for k in FIRST], "o-", label=label)
    axes.set_xscale("log")
    axes.set_xticks(FIRST, [str(k) for k in FIRST])
    axes.minorticks_off()
    _percent_axis(axes, "first k candidates")
    axes.legend(frameon=False)


def _guests(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Shares by number of guests."""
    _bars(axes, [row for row in summary(scored, "guest_range") if row["group"] in GROUPS], "guests")


def _anions(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Shares by the main anion of the host."""
    rows = [row for row in summary(scored, "anion") if row["group"] != "all"]
    _bars(axes, rows, "most electronegative anion of the host")


def _training(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Shares by the distance of the composition from the training data."""
    rows = [row for row in summary(scored, "training_range") if row["group"] != "all"]
    _bars(axes, rows, "distance from the nearest training composition")


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]], label: str) -> None:
    """Shares of groups, with their intervals."""
    shares = [("one_sample", "one sample"), ("top1", "first"), ("any_k", "any"), ("les", "LES"), ("chance", "chance")]
    shares = [(name, title) for name, title in shares if all(name in row for row in rows)]
    place, width = np.arange(len(rows)), 0.8 / len(shares)
    for k, (name, title) in enumerate(shares):
        value, low, high = (100 * np.array([row[name + end] for row in rows]) for end in ("", "_low", "_high"))
        error = np.maximum(0.0, [value - low, high - value])
        axes.bar(place + (k - (len(shares) - 1) / 2) * width, value, width, yerr=error, capsize=2, label=title)
    hosts = "{} hosts" if len(rows) < 6 else "{}"
    axes.set_xticks(place, [f"{row['group']}\n({hosts.format(row['hosts'])})" for row in rows])
    _percent_axis(axes, label if len(rows) < 6 else f"{label} (hosts)")
    columns = {"ncols": len(shares), "handlelength": 1.0, "columnspacing": 1.0}
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), **columns)


def _elements(axes: Axes, scored: Sequence[ScoredTask]) -> None:
    """Share of tasks whose first candidate is right among those whose crystal holds an element."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle
    from pymatgen.core import Element

    held: dict[str, list[bool]] = {}
    for one in scored:
        for symbol in set(re.findall(r"[A-Z][a-z]?", f"{one.formula} {one.guests}")):
            held.setdefault(symbol, []).append(one.top1)
    colours = colormaps["viridis"]
    for element in Element:
        if element.Z > 94 or element.symbol in ("D", "T"):
            continue
        # Lanthanides and actinides stand below the others.
        below = element.is_lanthanoid or element.is_actinoid
        row = element.row + 2.5 if below else element.row
        column = (element.Z - (57 if element.is_lanthanoid else 89)) + 3 if below else element.group
        right = held.get(element.symbol)
        share = float(np.mean(right)) if right else 0.0
        axes.add_patch(Rectangle((column, row), 0.94, 0.94, color=colours(share) if right else "0.92"))
        dark = "white" if right and share < 0.6 else "black"
        axes.text(column + 0.47, row + 0.33, element.symbol, ha="center", va="center", color=dark, fontsize=8)
        if right:
            text = f"{100 * share:.0f} % of {len(right)}"
            axes.text(column + 0.47, row + 0.72, text, ha="center", va="center", color=dark, fontsize=5)
    axes.set(xlim=(0.9, 19.1), ylim=(10.6, 0.9), title="first candidate right, by element in the crystal")
    axes.set_axis_off()


def _percent_axis(axes: Axes, label: str) -> None:
    axes.set(xlabel=label, ylabel="share of tasks (%)", ylim=(0, 103))
    axes.spines[["top", "right"]].set_visible(False)
