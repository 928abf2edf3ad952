"""Pictures of a host with the sites found in it: one column per guest species, one row per view along a cell axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import site_orbit
from inpaint_hpc.files import atomic_path
from inpaint_hpc.pipeline.results import Candidate, InpaintResult

from .known_sites import KnownSite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GUEST_COLORS = {
    3: "#1b9e4b",
    11: "#d4a900",
    12: "#e8590c",
    13: "#5f6b7a",
    19: "#8e44ad",
    20: "#1f77b4",
    30: "#2c7fb8",
}
SPARE_COLOR = "#c2185b"
ANIONS = (7, 8, 9, 15, 16, 17, 33, 34, 35, 51, 52, 53)
RING_STYLES = ("-", (0, (2.5, 1.5)), (0, (1, 1.2)))
SMALLEST_WINDOW = 5.2  # A from the centre to the edge, so that small cells are seen with their surroundings
SYMPREC = 0.1


@dataclass(frozen=True)
class View:
    """Projection along one cell axis.

    Attributes:
        axis: 0, 1 or 2, the cell vector that points towards the viewer.
        plane: rows are the two directions of the page, unit vectors, (2, 3).
        shifts: lattice vectors in the page, in units of the cell vectors, int (m, 3).
        centre: middle of the cell on the page, A, (2,).
        half_width: from there to the edge of the picture, A.
    """

    axis: int
    plane: np.ndarray
    shifts: np.ndarray
    centre: np.ndarray
    half_width: float

    def project(self, lattice: np.ndarray, frac: np.ndarray) -> np.ndarray:
        """Points on the page in A, (..., 2), of fractional coordinates (..., 3)."""
        return frac @ lattice @ self.plane.T

    def images(self, lattice: np.ndarray, frac: np.ndarray, margin: float = 0.8) -> np.ndarray:
        """Fractional coordinates of all periodic images of points (n, 3) inside the picture: (m, 3).

        Images along the axis hide each other: one is enough.
        """
        wrapped = frac - np.floor(frac)
        images = (wrapped[:, None] + self.shifts).reshape(-1, 3)
        inside = np.abs(self.project(lattice, images) - self.centre).max(axis=1) < self.half_width + margin
        return images[inside]


def make_view(lattice: np.ndarray, axis: int) -> View:
    """The view along cell vector `axis` of rows a, b, c in A, (3, 3)."""
    towards = lattice[axis] / np.linalg.norm(lattice[axis])
    first, second = ((axis + 1) % 3, (axis + 2) % 3)
    # The longer vector is horizontal: pages are wider than high, and layers become horizontal stripes.
    flat = [lattice[i] - (lattice[i] @ towards) * towards for i in (first, second)]
    horizontal = flat[0] if np.linalg.norm(flat[0]) <= np.linalg.norm(flat[1]) else flat[1]
    right = horizontal / np.linalg.norm(horizontal)
    up = np.cross(towards, right)
    plane = np.stack([right, up])
    corners = np.array(list(product((0, 1), repeat=2)))
    outline = corners @ np.stack([lattice[first], lattice[second]]) @ plane.T
    centre = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
    half_width = max(SMALLEST_WINDOW, 0.5 * np.ptp(outline, axis=0).max() + 1.0)
    in_page = np.stack([lattice[first], lattice[second]]) @ plane.T
    # Enough repeats to fill the square from its centre to its corners, however skewed the cell.
    reach = int(np.ceil(2.0 * (half_width + 2.0) / np.linalg.svd(in_page)[1].min())) + 1
    steps = np.array(list(product(range(-reach, reach + 1), repeat=2)))
    shifts = np.zeros((len(steps), 3), dtype=np.int64)
    shifts[:, first], shifts[:, second] = steps.T
    return View(axis, plane, shifts, centre, half_width)


def default_axes(lattice: np.ndarray) -> tuple[int, ...]:
    """The shortest cell vector, along which channels run and layers are seen from the side, and the longest.

    One axis if all are equally long: then two views would show the same.
    """
    lengths = np.linalg.norm(lattice, axis=1)
    shortest = int(lengths.argmin())
    # Of two equal ones the later, the usual view of a cell.
    longest = int(max(range(3), key=lambda i: (round(lengths[i], 1), i)))
    return (shortest, longest) if lengths[longest] > lengths[shortest] + 0.1 else (longest,)


def drawing_cell(host: Crystal) -> np.ndarray:
    """Rows a, b, c of the cell to draw, as whole multiples of the host's own: int (3, 3).

    The conventional cell, because axes of primitive cells are poor directions to look along; but for cubic crystals
    the host's own, because their primitive axes <110> are the ones along which channels run.
    """
    import spglib

    try:
        cell = host.lattice, host.frac_coords, host.numbers
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)  # type: ignore[arg-type]  # arrays will do
    except spglib.error.SpglibError:
        dataset = None
    if dataset is None or dataset.number >= 195:
        return np.eye(3, dtype=np.int64)
    rows = np.linalg.inv(dataset.transformation_matrix).T
    whole = np.round(rows).astype(np.int64)
    usable = np.abs(rows - whole).max() < 0.05 and abs(np.linalg.det(whole)) > 0.5
    return whole if usable else np.eye(3, dtype=np.int64)


def repeated(cell: np.ndarray, frac: np.ndarray) -> np.ndarray:
    """Points (n, 3) of one cell as points of a larger one, whose rows are multiples `cell` (3, 3) of its own."""
    span = np.abs(cell).sum()
    steps = np.array(list(product(range(-span, span + 1), repeat=3)))
    inverse = np.linalg.inv(cell)
    inside = steps @ inverse + 1e-9
    steps = steps[((inside >= 0.0) & (inside < 1.0 - 1e-12)).all(axis=1)]
    return ((frac[:, None] + steps) @ inverse).reshape(-1, 3)


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
    cell = drawing_cell(host)
    drawn = Crystal(
        np.repeat(host.numbers, len(repeated(cell, np.zeros((1, 3))))),
        repeated(cell, host.frac_coords),
        cell @ host.lattice,
    )
    rings = [repeated(cell, site.positions(host)) for site in known]
    found = [_sites(result, cell) for result in results]
    views = [make_view(drawn.lattice, axis) for axis in default_axes(drawn.lattice)]
    figure = Figure(figsize=(4.6 * len(results), 4.4 * len(views) + 1.4), dpi=130, layout="constrained")
    grid = figure.subplots(len(views), len(results), squeeze=False)
    for row, view in enumerate(views):
        for column, result in enumerate(results):
            ax = grid[row, column]
            _draw_frame(ax, drawn.lattice, view)
            _draw_host(ax, drawn, view)
            _draw_sites(ax, drawn.lattice, view, found[column])
            _draw_rings(ax, drawn.lattice, view, rings)
            if row == 0:
                ax.set_title(_column_title(result), fontsize=12)
            if column == 0:
                ax.set_ylabel(f"view along {'abc'[view.axis]}", fontsize=11)
    figure.suptitle(title or host.name, fontsize=15, fontweight="bold")
    handles = _legend(host, results, known)
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


def _draw_frame(ax: Axes, lattice: np.ndarray, view: View) -> None:
    """Limits, outline of the cell with the names of its vectors, and a bar of 2 A."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    low, high = view.centre - view.half_width, view.centre + view.half_width
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")
    first, second = np.eye(3)[(view.axis + 1) % 3], np.eye(3)[(view.axis + 2) % 3]
    outline = np.array([np.zeros(3), first, first + second, second, np.zeros(3)])
    x, y = view.project(lattice, outline).T
    ax.plot(x, y, color="#333333", lw=1.1, ls=(0, (5, 3)), zorder=6)
    for end, index in ((first, (view.axis + 1) % 3), (second, (view.axis + 2) % 3)):
        # Off the middle of the edge, where sites often are.
        place = view.project(lattice, 0.27 * end)
        outwards = place - view.centre
        x, y = place + 0.42 * outwards / max(np.linalg.norm(outwards), 1e-9)
        text = ax.text(x, y, "abc"[index], style="italic", fontsize=11, ha="center", va="center", zorder=12)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8})
    bar = AnchoredSizeBar(ax.transData, 2.0, "2 Å", "lower left", pad=0.35, borderpad=0.3, size_vertical=0.08)
    bar.patch.set(edgecolor="#bbbbbb", lw=0.6)
    bar.set_zorder(13)
    ax.add_artist(bar)


def _draw_host(ax: Axes, host: Crystal, view: View) -> None:
    """Atoms, and translucent polyhedra of anions around the other atoms."""
    from matplotlib.patches import Polygon

    anion = np.isin(host.numbers, ANIONS)
    for center, corners in _polyhedra(host):
        color = host_color(int(host.numbers[center]))
        # The whole polyhedron moves with its centre, also across the border of the cell.
        for image in view.images(host.lattice, host.frac_coords[center][None], margin=3.0):
            points = view.project(host.lattice, image) + corners @ view.plane.T
            ax.add_patch(Polygon(_hull(points), facecolor=(*color, 0.16), edgecolor=(*color, 0.45), lw=0.7, zorder=2))
    for z in np.unique(host.numbers):
        images = view.images(host.lattice, host.frac_coords[host.numbers == z])
        x, y = view.project(host.lattice, images).T
        size = 26 if z in ANIONS and not anion.all() else 62
        ax.scatter(x, y, s=size, color=[host_color(int(z))], edgecolor="#00000066", lw=0.5, zorder=4)


def _polyhedra(host: Crystal) -> list[tuple[int, np.ndarray]]:
    """Atoms that are surrounded by at least four anions, and Cartesian vectors in A to these."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    anion = np.isin(host.numbers, ANIONS)
    if not anion.any() or anion.all():
        return []
    reach = 1.2 * covalent_radii[host.numbers]
    i, j, vectors = neighbor_list("ijD", host.to_atoms(), reach)
    found = []
    for center in np.flatnonzero(~anion):
        corners = vectors[(i == center) & anion[j]]
        if len(corners) >= 4:
            found.append((int(center), corners))
    return found


def _hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of points (n, 2); the points themselves if they lie on a line."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return points


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


def _legend(host: Crystal, results: Sequence[InpaintResult], known: Sequence[KnownSite]) -> list[Any]:
    from ase.data import chemical_symbols
    from matplotlib.lines import Line2D

    def dot(label: str, area: float, **style: Any) -> Line2D:
        return Line2D([], [], ls="none", marker="o", markersize=np.sqrt(area), label=label, **style)

    handles = [
        dot(chemical_symbols[z], 26 if z in ANIONS else 62, color=host_color(int(z)), markeredgecolor="#00000066")
        for z in np.unique(host.numbers)[::-1]
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


def host_color(number: int) -> tuple[float, float, float]:
    """Jmol's colour of an element, red, green, blue in [0, 1]."""
    from ase.data.colors import jmol_colors

    red, green, blue = jmol_colors[number].tolist()
    return red, green, blue


def guest_color(number: int) -> str:
    """Colour of a guest ion, distinct from oxygen's red and manganese's violet."""
    return GUEST_COLORS.get(number, SPARE_COLOR)
