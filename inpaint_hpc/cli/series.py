"""`inpaint-hpc series`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.options import CHGNET, NOISE_OPTIONS, archive_option, choose_device, noise_levels, parse_guests
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from inpaint_hpc.pipeline.results import InpaintResult


@click.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option("--guest", required=True, metavar="EL", help="The guest ion.")
@click.option(
    "--counts",
    default="max",
    show_default=True,
    metavar="A..B|N,N|max",
    help="Numbers of guests per host cell; max: 1 to as many as fit.",
)
@click.option("--samples", default=16, show_default=True, help="Joint samples per number of guests.")
@click.option("--steps", default=40, show_default=True, help="Network evaluations per sample.")
@NOISE_OPTIONS[0]
@NOISE_OPTIONS[1]
@click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same samples.")
@click.option("--evaluations", default=48, show_default=True, help="CHGNet energies of orderings per number of guests.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Candidates to relax per composition.",
)
@click.option(
    "--cells",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Largest supercell to search, in host cells.",
)
@click.option(
    "--shapes",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Supercell shapes to search per size, most compact first.",
)
@click.option(
    "--relax",
    type=click.Choice(["none", "guests", "positions", "cell"]),
    default="cell",
    show_default=True,
    help="What to relax; the empty host is treated the same way.",
)
@click.option(
    "--relax-steps",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Maximum number of relaxation steps.",
)
@click.option("--chgnet", type=click.Choice(CHGNET), default="0.3.0", show_default=True, help="CHGNet weights.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
@click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file.")
@click.option(
    "--out",
    default="series",
    show_default=True,
    metavar="DIR",
    help="Folder for structures, series.json and series.png.",
)
@archive_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def series(hosts: tuple[str, ...], guest: str, counts: str, **options: Any) -> None:
    """Fill a host with 0, 1, 2 ... guests; hull and voltage curve.

    For each number of guests, occupations of the host's sites are searched and the best candidates are relaxed.
    Prints a table per host and writes to DIR the best structure for each number of guests, series.json, and a picture
    of the hulls and voltage curves.

    With --cells 2, orderings are also searched in supercells of two host cells, at every concentration they allow:
    half a guest per host cell, and arrangements for which the host's own cell is too small.

    Example: inpaint-hpc series MnO2.cif --guest Li --counts 0..4
    """
    from inpaint_hpc.crystals.reading import read_hosts

    start = time.perf_counter()
    ((element, _),) = parse_guests([guest]).items()
    wanted = parse_counts(counts)
    crystals = read_hosts(list(hosts))
    device = choose_device(options["device"])

    from ase.data import atomic_numbers

    from inpaint_hpc.analysis.series import SeriesExtent, concentration_series
    from inpaint_hpc.cli.output import PipelineProgress
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.result_files import write_candidates
    from inpaint_hpc.pipeline.settings import PipelineSettings
    from inpaint_hpc.sampling.settings import SamplingSettings

    if element not in atomic_numbers:
        raise InputError(f"unknown element '{element}': give a symbol such as Li")
    network = load_network(options["weights"], device)
    sampling = SamplingSettings(
        **{name: options[name] for name in ("samples", "steps", "seed")}, **noise_levels(options)
    )
    pipeline = PipelineSettings(
        relax=options["relax"],
        top_k=options["top_k"],
        relax_steps=options["relax_steps"],
        chgnet=options["chgnet"],
        evaluations=options["evaluations"],
    )
    found = []
    with PipelineProgress() as progress:
        for host in crystals:
            found.append(
                concentration_series(
                    network,
                    host,
                    atomic_numbers[element],
                    SeriesExtent(wanted, options["cells"], options["shapes"]),
                    sampling,
                    pipeline,
                    device,
                    progress,
                )
            )
    if options["archive"]:
        from inpaint_hpc.campaign.result_archive import archive_results

        archive_results(options["archive"], [result for one in found for result in one.results])
    out = Path(options["out"])
    for one in found:
        for result in one.results:
            write_candidates([result], out / f"{element}{len(result.guests):03d}", "cif", 1)
    profiles = [one.profile for one in found]
    content = {
        "schema": "1.0",
        "command": "series",
        "seconds": time.perf_counter() - start,
        "profiles": [profile.as_dict() for profile in profiles],
    }
    text = json.dumps(content, indent=2, allow_nan=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "series.json").write_text(text + "\n", encoding="utf-8")

    from inpaint_hpc.analysis.voltage_picture import voltage_picture

    voltage_picture(profiles, out / "series.png")
    if options["as_json"]:
        click.echo(text)
        return
    from inpaint_hpc.cli.voltage_tables import print_profile

    for one in found:
        print_profile(one.profile)
        _print_sites(one.results)
    click.echo(f"structures, series.json and series.png in {out}")


def _print_sites(results: Sequence[InpaintResult]) -> None:
    """Where the guests of the best candidate of each concentration are."""
    from rich import box
    from rich.table import Table

    from inpaint_hpc.cli.guest_columns import NARROW, WIDE, add_columns, neighbours, valences
    from inpaint_hpc.cli.output import counted, stdout_console

    console = stdout_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    add_columns(table, ("guests", "in", "site", "neighbours", "BVS"), left=("guests", "in", "site"))
    for result in results:
        if result.candidates and result.guests:
            best = result.candidates[0]
            around = neighbours(best.environment, 1000 if console.width >= WIDE else NARROW)
            cells = [result.guest_label, result.host.formula, counted(best.wyckoff), around]
            table.add_row(*cells, valences(best.bond_valence_sum))
    if table.row_count:
        console.print(table)
        console.print()


def parse_counts(text: str) -> list[int] | None:
    """'0..4' -> [0, 1, 2, 3, 4]; '1,2,4' -> [1, 2, 4]; '3' -> [3]; 'max' and '0..max' -> None.

    Raises:
        InputError: not in one of these forms.
    """
    text = text.strip()
    if text == "max" or text.endswith("..max"):
        return None
    try:
        if ".." in text:
            low, high = (int(part) for part in text.split(".."))
            counts = list(range(low, high + 1))
        else:
            counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 0:
        raise InputError(f"cannot read --counts '{text}': write it like 0..4, 1,2,4 or max")
    return counts
