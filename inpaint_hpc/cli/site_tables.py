"""Tables of site networks on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .guest_columns import NARROW, WIDE, add_columns, neighbours, number, valences

if TYPE_CHECKING:
    from rich.table import Table

    from inpaint_hpc.analysis.charge_limits import ChargeLimits
    from inpaint_hpc.sites.coordination import Shell
    from inpaint_hpc.sites.site_network import SiteNetwork


def print_sites(networks: Sequence[SiteNetwork], fit: Sequence[int | None]) -> None:
    """Print the sites of each network, the shortest distances between them, and how many guests fit.

    Args:
        networks: one per host.
        fit: of each, how many guests its sites hold (`fitting`); None prints nothing.
    """
    from ase.data import chemical_symbols

    from inpaint_hpc.analysis.charge_limits import charge_limits
    from inpaint_hpc.cli.output import stdout_console

    console = stdout_console()
    for network, most in zip(networks, fit, strict=True):
        if not network.orbits:
            console.print(
                f"{network.host.name}: no sites; every sampled position is on top of a host atom", markup=False
            )
            continue
        console.print(_sites(network, console.width >= WIDE))
        if len(network.orbits) > 1:
            console.print("Shortest distances between sites, A")
            console.print(_distances(network))
        print_most(most, charge_limits(network.host, network.number), chemical_symbols[network.number])
        console.print(_footer(network), style="dim")
        console.print()


def print_most(fit: int | None, charges: ChargeLimits | None, symbol: str) -> None:
    """Print how many guests fit in the host cell, by the distances between sites and by charge; None prints nothing."""
    from inpaint_hpc.cli.output import stdout_console

    console = stdout_console()
    if fit is not None:
        console.print(f"most by distance between sites: {fit} {symbol} in the host cell")
    if charges is not None:
        console.print(f"most by charge: {charges.sentence(symbol)}", markup=False)


def _sites(network: SiteNetwork, wide: bool) -> Table:
    from ase.data import chemical_symbols
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from inpaint_hpc.sites.polyhedra import environment

    ion = chemical_symbols[network.number]
    title = f"[bold]{escape(network.host.name)}[/] ({network.host.formula}): sites of {ion}"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False
    )
    names = [
        "site",
        "Wyckoff",
        "in\ncell",
        "share",
        "neighbours",
        "BVS",
        "energy\neV",
        "meV\nabove",
        "nearest\nsite, A",
    ]
    names += ["spread\nA", "moved\nA", "settles\non site", "at\nfractional"] if wide else []
    add_columns(table, names, left=("Wyckoff", "at\nfractional"))
    for row, shell in zip(network.rows(), _shells(network), strict=True):
        cells = [
            str(row["site"]),
            row["wyckoff"],
            str(row["multiplicity"]),
            f"{100 * row['occupancy']:.0f} %",
            neighbours([environment(ion, shell)], 1000 if wide else NARROW),
            valences([shell.valence]),
            number(row["energy_eV"], 3),
            number(row["above_best_meV"], 0),
            f"{row['nearest_site']}: {row['nearest_A']:.2f}",
        ]
        cells += [
            number(row["spread_A"], 2),
            number(row["shift_A"], 2),
            str(row["settles_on"]) if row["settles_on"] >= 0 else "-",
            " ".join(f"{round(row[axis], 4) % 1.0:.4f}" for axis in "xyz"),
        ]
        table.add_row(*cells[: len(names)])
    return table


def _shells(network: SiteNetwork) -> list[Shell]:
    """Surroundings of the first position of each orbit."""
    from inpaint_hpc.sampling.minimum_image import PeriodicCell
    from inpaint_hpc.sites.coordination import LOOK, shells
    from inpaint_hpc.sites.periodic_points import PeriodicPoints

    host = network.host
    points = PeriodicPoints(PeriodicCell(host.lattice), host.frac_coords, LOOK)
    return shells(host, points, np.array([orbit.frac_coords[0] for orbit in network.orbits]), network.number)


def _distances(network: SiteNetwork) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("site", justify="right")
    for k in range(len(network.orbits)):
        table.add_column(str(k), justify="right")
    for k, row in enumerate(network.orbit_distances):
        table.add_row(str(k), *(f"{distance:.2f}" for distance in row))
    return table


def _footer(network: SiteNetwork) -> str:
    symmetry = f"{len(network.rotations)} symmetry operations (symprec {network.symprec:g} A)"
    stopped = "the last round found no new site" if network.saturated else "new sites were still being found"
    return f"{network.samples} guest positions, {symmetry}; {stopped}"
