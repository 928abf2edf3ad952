"""Pictures of a host with the sites found in it: one column per guest species, one row per view along a cell axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.symmetry import site_orbit
from inpaint_hpc.files import atomic_path
from inpaint_hpc.pipeline.results import Candidate, InpaintResult

from .known_sites import KnownSite
from .projections import (
    SYMPREC,
    DrawnHost,
    View,
    default_axes,
    draw_frame,
    draw_host,
    drawn_cell,
    guest_color,
    host_color,
    make_view,
    repeated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RING_STYLES = ("-", (0, (2.5, 1.5)), (0, (1, 1.2)))


def host_picture(
    results: Sequence[InpaintResult],
    path: str | Path,
    title: str | None = None,
    known: Sequence[KnownSite] = (),
) -> Path:
    """Draw one host with the sites found for each guest species.

    The area of a site grows with the share of samples that found it; the top candidate has a dark edge.  For one
    guest all symmetry-equivalent positions of a site are drawn, for several guests the placement itself.

    Args:
        results: of one host, one per guest species (or mixture).
        path: PNG or any other format that matplotlib recognizes by its suffix.
        title: above the picture; by default the host's name.
        known: sites to mark with rings.

    Returns:
        The path.

    Raises:
        ValueError: no results, or results of different hosts.
    """
    from matplotlib.figure import Figure

    if not results or any(result.host is not results[0].host for result in results):
        raise ValueError("a picture shows results of one host")
    host = results[0].host
    cell, crystal = drawn_cell(host)
    drawn = DrawnHost.of(crystal)
    rings = [repeated(cell, site.positions(host)) for site in known]
    found = [_sites(result, cell) for result in results]
    views = [make_view(crystal.lattice, axis) for axis in default_axes(crystal.lattice)]
    figure = Figure(figsize=(4.6 * len(results), 4.4 * len(views) + 1.4), dpi=130, layout="constrained")
    grid = figure.subplots(len(views), len(results), squeeze=False)
    for row, view in enumerate(views):
        for column, result in enumerate(results):
            ax = grid[row, column]
            draw_frame(ax, crystal.lattice, view)
            draw_host(ax, drawn, view)
            _draw_sites(ax, crystal.lattice, view, found[column])
            _draw_rings(ax, crystal.lattice, view, rings)
            if row == 0:
                ax.set_title(_column_title(result), fontsize=12)
            if column == 0:
                ax.set_ylabel(f"view along {'abc'[view.axis]}", fontsize=11)
    figure.suptitle(title or host.name, fontsize=15, fontweight="bold")
    handles = _legend(drawn, results, known)
    columns = -(-len(handles) // 2) if len(results) > 1 else 2
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9.5, columnspacing=1.4
    )
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png")
    return path


def _column_title(result: InpaintResult) -> str:
    label = result.guest_label.replace("=1", "")
    if not result.candidates:
        return f"{label}: no possible site"
    best = result.candidates[0]
    where = f", {best.wyckoff[0]}" if len(best.wyckoff) == 1 else ""
    return f"{label}: best candidate{where}, {best.count} of {result.n_valid} samples"


def _sites(result: InpaintResult, cell: np.ndarray) -> list[tuple[Candidate, int, np.ndarray]]:
    """Candidate, species and positions in the cell drawn; the best candidate last, to be drawn on top."""
    sites = []
    for candidate in reversed(result.candidates):
        if len(result.guests) == 1:
            orbit = site_orbit(result.host, candidate.guest_frac_coords[0], SYMPREC)
            sites.append((candidate, result.guests[0], repeated(cell, orbit)))
            continue
        for z, position in zip(result.guests, candidate.guest_frac_coords, strict=True):
            sites.append((candidate, z, repeated(cell, position[None])))
    return sites


def _draw_sites(ax: Axes, lattice: np.ndarray, view: View, sites: Sequence[tuple[Candidate, int, np.ndarray]]) -> None:
    for candidate, z, positions in sites:
        best = candidate.rank == 0
        x, y = view.project(lattice, view.images(lattice, positions)).T
        style: dict[str, Any] = {"edgecolor": "black", "lw": 1.6} if best else {"edgecolor": "white", "lw": 0.7}
        style |= {"color": guest_color(z), "alpha": 1.0 if best else 0.6, "zorder": 9 if best else 8}
        ax.scatter(x, y, s=site_area(candidate.agreement), **style)


def _draw_rings(ax: Axes, lattice: np.ndarray, view: View, rings: Sequence[np.ndarray]) -> None:
    for positions, style in zip(rings, RING_STYLES, strict=False):
        x, y = view.project(lattice, view.images(lattice, positions)).T
        ax.scatter(x, y, s=330, facecolor="none", edgecolor="white", lw=3.4, zorder=10)
        ax.scatter(x, y, s=330, facecolor="none", edgecolor="black", lw=1.5, ls=style, zorder=11)


def _legend(host: DrawnHost, results: Sequence[InpaintResult], known: Sequence[KnownSite]) -> list[Any]:
    from ase.data import chemical_symbols
    from matplotlib.lines import Line2D

    def dot(label: str, area: float, **style: Any) -> Line2D:
        return Line2D([], [], ls="none", marker="o", markersize=np.sqrt(area), label=label, **style)

    handles = [
        dot(chemical_symbols[z], host.area(z), color=host_color(z), markeredgecolor="#00000066")
        for z in np.unique(host.crystal.numbers)[::-1].tolist()
    ]
    for z in sorted({z for result in results for z in result.guests}):
        handles.append(dot(f"{chemical_symbols[z]}, best", 110, color=guest_color(z), markeredgecolor="black", mew=1.6))
        handles.append(dot(f"{chemical_symbols[z]}, other", 90, color=guest_color(z), alpha=0.6, mec="white"))
    for share in (1.0, 0.1):
        handles.append(dot(f"{share:.0%} of samples", site_area(share), color="#999999", markeredgecolor="white"))
    for number, site in enumerate(known):
        # Lines have no dashed marker edges: the style is shown by a short piece of line.
        style = RING_STYLES[number % len(RING_STYLES)]
        handles.append(Line2D([], [], color="black", lw=1.5, ls=style, label=f"{site.kind}: {site.compound}"))
    return handles


def site_area(agreement: float) -> float:
    """Area in square points of a site that this share of samples agree on."""
    return 28.0 + 172.0 * agreement
