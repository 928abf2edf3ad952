"""Tables of site networks on stdout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from inpaint_hpc.analysis.charge_limits import ChargeLimits
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
        console.print(_sites(network))
        console.print(_energies(network))
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


def _sites(network: SiteNetwork) -> Table:
    from ase.data import chemical_symbols
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    ion = chemical_symbols[network.number]
    title = f"[bold]{escape(network.host.name)}[/] ({network.host.formula}): sites of {ion}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("site", "Wyckoff", "sites\nin cell", "share of\nsamples", "spread\nA", "neighbours"):
        table.add_column(name, justify="left" if name in ("Wyckoff", "neighbours") else "right")
    table.add_column("nearest\nsite, A", justify="right")
    for row in network.rows():
        table.add_row(
            str(row["site"]),
            row["wyckoff"],
            str(row["multiplicity"]),
            f"{100 * row['occupancy']:.0f} %",
            _number(row["spread_A"], 2),
            f"{row['coordination']} at {row['bond_A']:.2f} A" if row["coordination"] else "-",
            f"{row['nearest_site']}: {row['nearest_A']:.2f}",
        )
    return table


def _energies(network: SiteNetwork) -> Table:
    """Where the sites are, and what a guest does there; in a table of its own, as a terminal has 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("site", "energy\neV", "above best\nmeV", "moved\nA", "settles\non site"):
        table.add_column(name, justify="right")
    table.add_column("at\nfractional", justify="left")
    for row in network.rows():
        table.add_row(
            str(row["site"]),
            _number(row["energy_eV"], 3),
            _number(row["above_best_meV"], 0),
            _number(row["shift_A"], 2),
            str(row["settles_on"]) if row["settles_on"] >= 0 else "-",
            " ".join(f"{round(row[axis], 4) % 1.0:.4f}" for axis in "xyz"),
        )
    return table


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


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
