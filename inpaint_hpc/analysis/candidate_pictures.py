"""Pictures of the candidates of an archive, one file each: host, ions, and the sites that the host has for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.site_records import networks_of_sites
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.writing import safe_name
from inpaint_hpc.files import atomic_path
from inpaint_hpc.sampling.minimum_image import PeriodicCell
from inpaint_hpc.sites.coordination import LOOK, shells
from inpaint_hpc.sites.periodic_points import PeriodicPoints
from inpaint_hpc.sites.site_network import Orbit

from .projections import (
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

MARKERS = ("o", "s", "^", "D")
LEAST_OCCUPANCY = 0.05  # of a site to mark: rarer ones are often where an ion was on its way
GUEST_AREA, SITE_AREA = 170.0, 46.0
LONGEST_NAME = 40  # characters of a host's name in the name of a file, which may have 255 bytes


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a picture of a candidate shows, in the cell that is drawn.

    Attributes:
        host: the framework.
        numbers, frac_coords: of the guests, (n,) and (n, 3).
        bonds: for each guest the vectors to its neighbours, A.
        sites: of each orbit to mark, most occupied first, its label and fractional coordinates (m, 3).
    """

    host: DrawnHost
    numbers: np.ndarray
    frac_coords: np.ndarray
    bonds: list[np.ndarray]
    sites: list[tuple[str, np.ndarray]]


def pictures_of_best(archive: Archive, tasks: Sequence[int], folder: str | Path) -> Iterator[Path]:
    """Draw the first candidate of each task, at rest where it was relaxed, as `HOST_GUESTS_TASK.png`.

    Sites are those of the network of the task, or else of another task with this host and ion.

    Args:
        archive: an open archive.
        tasks: numbers of tasks that have candidates.
        folder: made if it does not exist; files of the same name are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    known = _networks(archive)
    rows = archive.tasks()["host_row"].to_numpy()
    for task in tasks:
        record = archive.record(task)
        own = {network.number: network.orbits for network in networks_of_sites(record.sites, record.host)}
        orbits: list[Orbit] = []
        for ion in dict.fromkeys(record.guests):
            if ion not in own and (other := known.get((int(rows[task]), ion))) is not None:
                own |= {network.number: network.orbits for network in archive.site_networks(other)}
            orbits += own.get(ion, ())
        yield candidate_picture(record, orbits, folder / file_name(record))


def file_name(record: TaskRecord) -> str:
    """A name without blanks and separators; the start of the task's id makes it unique."""
    host = safe_name(record.host.name or record.host.formula)[:LONGEST_NAME].lstrip("-")
    return f"{host}_{_guests(record).replace(' ', '')}_{record.task_id[:12]}.png"


def candidate_picture(record: TaskRecord, orbits: Iterable[Orbit], path: str | Path) -> Path:
    """Draw the first candidate of a task along one or two cell axes.

    Args:
        record: a task with candidates.
        orbits: sites to mark; of these the most occupied.
        path: a PNG file.
    """
    from matplotlib.figure import Figure

    drawing = _drawing(record, list(orbits))
    crystal, path = drawing.host.crystal, Path(path)
    views = [make_view(crystal.lattice, axis) for axis in default_axes(crystal.lattice)]
    handles = _legend(drawing)
    columns = min(len(handles), (2 if drawing.sites else 4) * len(views))
    rows = -(-len(handles) // columns)
    figure = Figure(figsize=(4.8 * len(views), 5.6 + 0.2 * rows), dpi=130, layout="constrained")
    for ax, view in zip(figure.subplots(1, len(views), squeeze=False)[0], views, strict=True):
        draw_frame(ax, crystal.lattice, view)
        draw_host(ax, drawing.host, view)
        _draw_guests(ax, drawing, view)
        ax.set_xlabel(f"view along {'abc'[view.axis]}", fontsize=10)
    title, about = _titles(record)
    figure.suptitle(f"{title}\n{about}", fontsize=12, parse_math=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # of a name; shown as a box
        figure.savefig(temporary, format="png")
    return path


def _networks(archive: Archive) -> dict[tuple[int, int], int]:
    """Of each host and ion the first task that has a site network."""
    sites, rows = archive.sites(), archive.tasks()["host_row"].to_numpy()
    found: dict[tuple[int, int], int] = {}
    for task, ion in zip(sites["task"], sites["ion"], strict=True):
        found.setdefault((int(rows[task]), int(ion)), int(task))
    return found


def _drawing(record: TaskRecord, orbits: list[Orbit]) -> Drawing:
    best = record.candidates[0]
    relaxed = best.relaxed is not None and best.relaxed.guest_frac_coords is not None
    crystal, n = record.crystal(0, relaxed), len(record.host)
    host = Crystal(crystal.numbers[:n], crystal.frac_coords[:n], crystal.lattice)
    numbers, frac_coords = crystal.numbers[n:], crystal.frac_coords[n:]
    bonds: list[np.ndarray] = []
    if n:
        points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
        bonds = [shell.vectors for shell in shells(host, points, frac_coords, numbers)]
    else:  # all atoms were generated
        host, numbers, frac_coords = crystal, numbers[:0], frac_coords[:0]
    cell, drawn = drawn_cell(host)
    copies = len(repeated(cell, np.zeros((1, 3))))
    common = sorted((o for o in orbits if o.occupancy >= LEAST_OCCUPANCY), key=lambda orbit: -orbit.occupancy)
    return Drawing(
        host=DrawnHost.of(drawn),
        numbers=np.repeat(numbers, copies),
        frac_coords=repeated(cell, frac_coords),
        bonds=[vectors for vectors in bonds for _ in range(copies)],
        sites=[(_site_label(orbit), repeated(cell, orbit.frac_coords)) for orbit in common[: len(MARKERS)]],
    )


def _draw_guests(ax: Axes, drawing: Drawing, view: View) -> None:
    from matplotlib.collections import LineCollection

    lattice, lines, colors = drawing.host.crystal.lattice, [], []
    for number, frac, vectors in zip(drawing.numbers, drawing.frac_coords, drawing.bonds, strict=True):
        places, ends = view.project(lattice, view.images(lattice, frac[None], margin=3.0)), vectors @ view.plane.T
        lines += [np.stack([place, place + end]) for place in places for end in ends]
        colors += [guest_color(int(number))] * (len(places) * len(ends))
    ax.add_collection(LineCollection(lines, colors=colors, linewidths=1.6 * view.scale**0.5, zorder=5))
    for number in np.unique(drawing.numbers).tolist():
        x, y = view.project(lattice, view.images(lattice, drawing.frac_coords[drawing.numbers == number])).T
        style: dict[str, Any] = {"color": guest_color(number), "edgecolor": "black", "lw": 1.4 * view.scale**0.5}
        ax.scatter(x, y, s=GUEST_AREA * view.scale, zorder=8, **style)
    for (_, positions), marker in zip(drawing.sites, MARKERS, strict=False):
        x, y = view.project(lattice, view.images(lattice, positions)).T
        ax.scatter(
            x, y, s=SITE_AREA * view.scale, marker=marker, facecolor="none", edgecolor="#222222", lw=0.9, zorder=9
        )


def _legend(drawing: Drawing) -> list[Any]:
    from ase.data import chemical_symbols
    from matplotlib.lines import Line2D

    def dot(label: str, area: float, marker: str = "o", **style: Any) -> Line2D:
        return Line2D([], [], ls="none", marker=marker, markersize=np.sqrt(area), label=label, **style)

    handles = [
        dot(chemical_symbols[z], drawing.host.area(z), color=host_color(z), markeredgecolor="#00000066")
        for z in np.unique(drawing.host.crystal.numbers)[::-1].tolist()
    ]
    for z in np.unique(drawing.numbers).tolist():
        handles.append(dot(f"{chemical_symbols[z]} placed", 110, color=guest_color(z), mec="black", mew=1.4))
    for (label, _), marker in zip(drawing.sites, MARKERS, strict=False):
        handles.append(dot(label, SITE_AREA, marker, color="none", mec="black"))
    return handles


def _site_label(orbit: Orbit) -> str:
    return f"site {orbit.wyckoff}: {orbit.shell or 'open'}, {orbit.occupancy:.0%} of positions"


def _titles(record: TaskRecord) -> tuple[str, str]:
    """Host and guests, and what is known of the candidate."""
    best = record.candidates[0]
    name = " ".join(record.host.name.split())
    formula = record.host.formula.replace(" ", "")
    parts = [part for part in (name if len(name) <= 30 else f"{name[:29]}…", formula) if part]
    title = " ".join([", ".join(parts), *(["+"] if parts else []), _guests(record)])
    sites = dict.fromkeys(best.wyckoff)
    about = [", ".join(f"{one} x{n}" if (n := best.wyckoff.count(one)) > 1 else one for one in sites)] if sites else []
    energy = best.energy_per_guest if best.relaxed is None else best.relaxed.energy_per_guest
    about += [] if energy is None or energy != energy else [f"{energy:.2f} eV per guest"]
    about += [f"{best.agreement:.0%} of samples"] if best.agreement > 0 else []
    return title, "; ".join(about)


def _guests(record: TaskRecord) -> str:
    from ase.data import chemical_symbols

    counts = {z: record.guests.count(z) for z in record.guests}
    return " ".join(f"{chemical_symbols[z]}{n if n > 1 else ''}" for z, n in counts.items())
