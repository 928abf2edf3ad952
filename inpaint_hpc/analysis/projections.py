"""Crystals drawn on a page along a cell axis: atoms, polyhedra of anions around cations, bonds of alloys."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sites.coordination import surroundings

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
SMALLEST_WINDOW = 5.2  # A from the centre to the edge, so that small cells are seen with their surroundings
WIDE_WINDOW = 9.0  # A; in wider ones atoms get smaller
SYMPREC = 0.1
MOST_ATOMS = 400  # of a conventional cell; larger ones take long and are too full to read
METAL_AREA, ANION_AREA = 62.0, 26.0


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

    @property
    def scale(self) -> float:
        """What areas of atoms are multiplied by."""
        return min(1.0, WIDE_WINDOW / self.half_width) ** 2

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


def draw_frame(ax: Axes, lattice: np.ndarray, view: View) -> None:
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


@dataclass(frozen=True, eq=False)
class DrawnHost:
    """A crystal, which of its atoms are anions, bool (n,), and the atoms with what surrounds them (`surroundings`)."""

    crystal: Crystal
    anions: np.ndarray
    shells: list[tuple[int, np.ndarray]]

    @classmethod
    def of(cls, crystal: Crystal) -> DrawnHost:
        """With its anions and shells found."""
        return cls(crystal, *surroundings(crystal))

    def area(self, number: int) -> float:
        """Area in square points of an element's atoms: anions are small, so that what they surround is seen."""
        salt = self.anions.any() and not self.anions.all()
        return ANION_AREA if salt and self.anions[self.crystal.numbers == number].any() else METAL_AREA


def draw_host(ax: Axes, host: DrawnHost, view: View) -> None:
    """Atoms, translucent polyhedra where four or more anions surround a cation, bonds to fewer and in alloys."""
    from matplotlib.collections import LineCollection, PolyCollection

    crystal, colors = host.crystal, []
    polygons: list[np.ndarray] = []
    bonds: list[np.ndarray] = []
    for center, corners in host.shells:
        # Images a little outside too: their polyhedra reach across the border of the cell.
        images = view.images(crystal.lattice, crystal.frac_coords[center][None], margin=3.0)
        places, around = view.project(crystal.lattice, images), corners @ view.plane.T
        if host.anions[center] or len(corners) < 4:
            bonds += [np.stack([place, place + end]) for place in places for end in around]
            continue
        outline = _hull(around)
        polygons += [place + outline for place in places]
        colors += [host_color(int(crystal.numbers[center]))] * len(places)
    faces, edges = [[(*color, alpha) for color in colors] for alpha in (0.16, 0.45)]
    ax.add_collection(PolyCollection(polygons, facecolors=faces, edgecolors=edges, linewidths=0.7, zorder=2))
    ax.add_collection(LineCollection(bonds, colors="#8a8a8a", linewidths=1.3 * view.scale**0.5, zorder=3))
    for z in np.unique(crystal.numbers).tolist():
        x, y = view.project(crystal.lattice, view.images(crystal.lattice, crystal.frac_coords[crystal.numbers == z])).T
        style: dict[str, Any] = {"color": [host_color(z)], "edgecolor": "#00000066", "lw": 0.5}
        ax.scatter(x, y, s=view.scale * host.area(z), zorder=4, **style)


def drawn_cell(host: Crystal) -> tuple[np.ndarray, Crystal]:
    """`drawing_cell`, and the host in it."""
    cell = drawing_cell(host)
    copies = round(abs(np.linalg.det(cell)))
    if copies * len(host) > max(MOST_ATOMS, len(host)):
        cell, copies = np.eye(3, dtype=np.int64), 1
    return cell, Crystal(np.repeat(host.numbers, copies), repeated(cell, host.frac_coords), cell @ host.lattice)


def _hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of points (n, 2); the points themselves if they lie on a line."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return points


def host_color(number: int) -> tuple[float, float, float]:
    """Jmol's colour of an element, red, green, blue in [0, 1]."""
    from ase.data.colors import jmol_colors

    red, green, blue = jmol_colors[number].tolist()
    return red, green, blue


def guest_color(number: int) -> str:
    """Colour of a guest ion, distinct from oxygen's red and manganese's violet."""
    return GUEST_COLORS.get(number, SPARE_COLOR)
