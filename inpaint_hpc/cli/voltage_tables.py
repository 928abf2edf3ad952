"""Tables of voltage profiles on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

    from inpaint_hpc.analysis.voltage import VoltageProfile

_KINDS = ("capacity_mAh_per_g", "energy_Wh_per_kg")


def print_profile(profile: VoltageProfile) -> None:
    """Print the table, the voltage steps and the notes of a profile."""
    from rich.markup import escape

    from inpaint_hpc.analysis.metal_states import words
    from inpaint_hpc.analysis.voltage import TREATMENTS
    from inpaint_hpc.cli.output import stdout_console
    from inpaint_hpc.cli.site_tables import print_most

    title = f"[bold]{escape(profile.host)}[/] + {profile.symbol}: {TREATMENTS[profile.treatment]}"
    table = _table(title)
    columns = (
        f"{profile.symbol} in\nhost cell",
        "energy\neV/cell",
        f"eV per\n{profile.symbol}",
        "average\nV",
        "volume\nchange, %",
        "above hull\nmeV/cell",
    )
    for name in columns:
        table.add_column(name, justify="right")
    table.add_column("from", justify="left", max_width=15, overflow="fold")
    for row in profile.rows():
        table.add_row(
            f"{row['guests']:g}",
            f"{row['energy_eV']:.3f}",
            f"{row['intercalation_energy_eV']:.3f}",
            f"{row['average_voltage_V']:.2f}",
            f"{row['volume_change_percent']:+.1f}",
            "stable" if row["stable"] else f"{1e3 * row['above_hull_eV']:.0f}",
            row["label"],
        )
    out = stdout_console()
    out.print(table)
    out.print()
    if profile.formula:
        out.print(_amounts(profile))
        out.print()
    document = profile.as_dict()
    # One step is the whole way.
    for step in [*document["steps"], *([document["total"]] if len(profile.steps) > 1 else [])]:
        out.print(_step(profile, step), soft_wrap=True)
    if profile.formula:
        out.print("mAh/g and Wh/kg of these lines: by the mass of the host without the added guests", style="dim")
    print_most(profile.fitting, profile.charges, profile.symbol)
    if profile.error is not None:
        low, high = profile.error.interval
        out.print(
            f"typical error: mean absolute error {profile.error.volts:.2f} V ({low:.2f}-{high:.2f}) of the average "
            f"voltages of {profile.error.pairs} electrodes, {profile.error.ions[profile.ion]} of them with "
            f"{profile.symbol}",
            style="dim",
        )
    out.print(
        f"empty host {profile.empty.energy:.3f} eV, {profile.empty.volume:.1f} A^3; {profile.symbol} metal "
        f"{profile.metal_energy:.3f} eV/atom; charge {profile.charge:g}; CHGNet {profile.chgnet}",
        style="dim",
    )
    told = [f"{row['formula']} {words(row['oxidation_states'])}" for row in profile.rows() if row["oxidation_states"]]
    if told:
        out.print("oxidation states by CHGNet's magnetic moments: " + "; ".join(told), style="dim", markup=False)
    for note in (*document["remarks"], *profile.notes):
        out.print(f"Note: {note}", markup=False)
    out.print()


def print_summary(profiles: Sequence[VoltageProfile]) -> None:
    """Print one line for each profile, in 80 columns, highest average voltage first."""
    from rich.markup import escape

    from inpaint_hpc.analysis.voltage_summary import voltage_summary
    from inpaint_hpc.cli.output import stdout_console

    rows = voltage_summary(profiles)
    mixed = len({(profile.treatment, profile.chgnet) for profile in profiles}) > 1
    lines = []
    for row in rows.to_dict("records"):
        known = bool(row["formula"])
        x = f"{row['x_from']:.3g}-{row['x_to']:.3g} {row['ion']}x{row['formula']}" if known else "-"
        capacity = f"{row['capacity_mAh_per_g_host']:.0f}" if known else "-"
        kind = f"{row['treatment']}, {row['chgnet']}; " if mixed else ""
        cells = (row["host"], row["ion"], x, f"{row['voltage_V']:.2f}", capacity, str(row["steps"]), kind + row["note"])
        lines.append([escape(cell) for cell in cells])
    table = _table()
    columns = [("host", 18), ("ion", 3), ("x in the formula", 19), ("average\nV", 7), ("mAh/g", 6), ("steps", 5)]
    columns += [("note", 16)] if any(line[-1] for line in lines) else []
    for heading, width in columns:
        side: Literal["left", "right"] = "right" if heading in ("average\nV", "mAh/g", "steps") else "left"
        wraps = heading in ("note", "x in the formula")
        table.add_column(heading, justify=side, max_width=width, no_wrap=not wraps, overflow="ellipsis")
    for line in lines:
        table.add_row(*line[: len(columns)])
    out = stdout_console()
    out.print(table)
    out.print("averages over all steps, against the metal; mAh/g by the mass of the host")
    out.print("--host NAME shows one host in full")
    if mixed:
        out.print("Note: energies by different potentials or treatments do not compare")


def _step(profile: VoltageProfile, step: dict[str, Any]) -> str:
    """'0 to 1 Li: 4.06 V against Li/Li+ (typical error 0.3); 77 mAh/g, 313 Wh/kg'."""
    text = f"{step['from']:g} to {step['to']:g} {profile.symbol}: {step['voltage_V']:.2f} V against {profile.label}"
    if profile.error is not None:
        text += f" (typical error {profile.error.volts:.1f})"
    if profile.formula:
        text += f"; {step['capacity_mAh_per_g_host']:.0f} mAh/g, {step['energy_Wh_per_kg_host']:.0f} Wh/kg"
    return text


def _amounts(profile: VoltageProfile) -> Table:
    """What each filling is: formula, capacity and energy, and where the guests are, as far as it is known."""
    rows = profile.rows()
    placed = any(row["wyckoff"] or row["spacegroup"] for row in rows)
    table = _table()
    table.add_column("filled", justify="left", max_width=14, overflow="fold")
    for name in ("mAh/g\nhost", "Wh/kg\nhost", "mAh/g\nfilled", "Wh/kg\nfilled"):
        table.add_column(name, justify="right")
    for name in ("space\ngroup", "Wyckoff\nsites", "neighbours") if placed else ():
        table.add_column(name, justify="left", max_width=10, overflow="fold")
    for row in rows:
        cells = [f"{row[f'{kind}_{of}']:.0f}" for of in ("host", "filled") for kind in _KINDS]
        where = [row["spacegroup"] or "-", _counted(row["wyckoff"]) or "-", _counted(row["coordination"]) or "-"]
        table.add_row(row["formula"], *cells, *(where if placed else ()))
    return table


def _table(title: str | None = None) -> Table:
    """An empty table without room to spare, so that its columns fit in 80."""
    from rich import box
    from rich.table import Table

    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


def _counted(values: Sequence[str]) -> str:
    """['8a', '8a', '16c'] -> '8a x2, 16c'."""
    return ", ".join(value if n == 1 else f"{value} x{n}" for value, n in Counter(values).items())
