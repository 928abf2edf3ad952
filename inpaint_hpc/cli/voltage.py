"""`inpaint-hpc voltage`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.options import CHGNET, choose_device
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from inpaint_hpc.analysis.voltage import VoltageProfile


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="ARCHIVE | RUN | HOST FILLED...")
@click.option("--ion", "ions", multiple=True, metavar="EL", help="Only guests of this element; repeatable.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help="Only hosts matching this name or pattern; repeatable."
)
@click.option("--charge", type=float, help="Charge of the ion, if not its usual one.")
@click.option(
    "--relax",
    type=click.Choice(["none", "positions", "cell"]),
    default="cell",
    show_default=True,
    help="What to relax in HOST and FILLED.  For an archive, the host is relaxed as its candidates were.",
)
@click.option(
    "--fmax",
    default=0.05,
    show_default=True,
    help="Largest force at which HOST and FILLED count as relaxed, eV/A.",
)
@click.option(
    "--chgnet",
    type=click.Choice(CHGNET),
    default="0.3.0",
    show_default=True,
    help="CHGNet weights for HOST and FILLED.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw hulls and voltage curves, of at most twelve.",
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each host and ion."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def voltage(sources: tuple[str, ...], ions: tuple[str, ...], hosts: tuple[str, ...], **options: Any) -> None:
    """Compute intercalation energies, voltages and volume changes of hosts with CHGNet.

    From an ARCHIVE or a RUN directory: for each host and guest element, the best candidates of all tasks, their convex
    hull, and the voltage steps against the metal of the guest; of several hosts one table, highest average voltage
    first.  From structures: HOST is the framework without the ion, and each FILLED is the same framework with it, in a
    cell of any size.

    Example: inpaint-hpc voltage RUN/archive.h5 --ion Li --picture voltage.png

    Example: inpaint-hpc voltage CoO2.cif LiCoO2.cif
    """
    from ase.data import atomic_numbers

    unknown = [ion for ion in ions if ion not in atomic_numbers]
    if unknown:
        raise InputError(f"unknown element '{unknown[0]}': give a symbol such as Li")
    device = choose_device(options["device"])
    numbers = [atomic_numbers[ion] for ion in ions]
    profiles = _profiles(sources, numbers, hosts, device, options)
    several = len({profile.host for profile in profiles}) > 1
    if several:
        from inpaint_hpc.analysis.voltage_summary import by_voltage

        profiles = by_voltage(profiles)
    if options["picture"]:
        from inpaint_hpc.analysis.voltage_picture import voltage_picture

        voltage_picture(profiles, options["picture"])
    if options["csv_file"]:
        _write_csv(profiles, options["csv_file"])
    if options["as_json"]:
        content = {"schema": "1.0", "command": "voltage", "profiles": [profile.as_dict() for profile in profiles]}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    from inpaint_hpc.cli.voltage_tables import print_profile, print_summary

    if several:
        print_summary(profiles)
        return
    for profile in profiles:
        print_profile(profile)


def _write_csv(profiles: list[VoltageProfile], path: Path) -> None:
    from inpaint_hpc.analysis.voltage_summary import voltage_summary
    from inpaint_hpc.files import atomic_path

    with atomic_path(path) as temporary:
        voltage_summary(profiles).to_csv(temporary, index=False)


def _profiles(
    sources: tuple[str, ...], ions: list[int], hosts: tuple[str, ...], device: str, options: dict[str, Any]
) -> list[VoltageProfile]:
    from inpaint_hpc.analysis.archive_voltage import archive_profiles
    from inpaint_hpc.analysis.voltage import structure_profile

    charge = options["charge"]
    if len(sources) == 1:
        from inpaint_hpc.archive.read import Archive

        path = Path(sources[0])
        path = path / "archive.h5" if path.is_dir() else path
        if not path.exists():
            raise InputError(f"{path}: no such archive; `inpaint-hpc collect RUN` makes one from a run")
        with Archive(path) as archive:
            charges = None if charge is None else dict.fromkeys(ions or range(1, 119), charge)
            return archive_profiles(archive, hosts or None, ions or None, charges, device)
    if len(ions) > 1:
        raise InputError("structures have one guest element; give --ion once")
    from inpaint_hpc.crystals.reading import read_hosts
    from inpaint_hpc.scoring.relaxation.relax import RelaxSettings

    host, *filled = read_hosts(list(sources))
    ion = ions[0] if ions else None
    settings = None if options["relax"] == "none" else RelaxSettings(options["relax"], options["fmax"])
    return [structure_profile(host, filled, ion, settings, charge, options["chgnet"], device)]
