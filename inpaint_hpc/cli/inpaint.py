"""`inpaint-hpc inpaint`."""

from __future__ import annotations

import time
from typing import Any

import click

from inpaint_hpc.cli.options import archive_option, choose_device, parse_guests, sampling_arguments, sampling_options

DEFAULT_OUT = "inpainted"


@click.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option(
    "--guest",
    "guests",
    multiple=True,
    required=True,
    metavar="EL[=N]",
    help="Element and number of guest atoms; repeatable.",
)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "conditional", "sequential", "replacement", "repaint"]),
    default="auto",
    show_default=True,
    help="auto: joint sampling, plus a search over the sites for several guests; sequential: one guest after another; "
    "replacement and repaint: methods from the literature, for comparison.",
)
@click.option("--tolerance", default=0.5, show_default=True, help="Samples within this distance (A) count as equal.")
@click.option("--symprec", default=0.1, show_default=True, help="Distance tolerance (A) for the host's symmetry.")
@archive_option
@sampling_options
def inpaint(hosts: tuple[str, ...], guests: tuple[str, ...], strategy: str, **options: Any) -> int:
    """Place guests in host crystals.

    HOST is a CIF, POSCAR, pymatgen JSON, packed HDF5 or ASE-readable file, a folder of such files, or a quoted pattern;
    FILE::SELECTION selects part of a file, e.g. hosts.h5::0:10.

    Prints a table per host, ranked by CHGNet energy, and writes the structures to DIR/HOST/rank-000.cif and so on
    (replacing rank files of an earlier run) along with results.json.  DIR is 'inpainted' unless set with --out; with
    --json, files are written only if --out is given.  With --relax, ranks, tables and structures are those after
    relaxation, and candidates that relax into the same minimum are merged.

    Example: inpaint-hpc inpaint LiMn2O4-host.cif --guest Li=2 --samples 32 --relax guests --top-k 4
    """
    from inpaint_hpc.crystals.reading import read_hosts

    start = time.perf_counter()
    wanted = parse_guests(guests)
    crystals = read_hosts(list(hosts))
    device = choose_device(options["device"])

    from inpaint_hpc.cli.output import PipelineProgress
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.inpaint import inpaint_many

    network = load_network(options["weights"], device)
    with PipelineProgress() as progress:
        results = inpaint_many(
            network,
            crystals,
            wanted,
            strategy=strategy,
            tolerance=options["tolerance"],
            symprec=options["symprec"],
            progress=progress,
            **sampling_arguments(options),
        )
    if options["archive"]:
        from inpaint_hpc.campaign.result_archive import archive_results

        archive_results(options["archive"], results)
    return show("inpaint", results, start, options, DEFAULT_OUT)


def show(command: str, results: list, start: float, options: dict[str, Any], default_out: str) -> int:
    """Write structures and print the table or the JSON document; exit status 1 if there are no candidates at all."""
    from inpaint_hpc.cli.output import print_results
    from inpaint_hpc.pipeline.result_files import document, to_json, write_candidates, write_json

    as_json, top = options["as_json"], options["top"]
    out = options["out"] or (None if as_json else default_out)
    files = write_candidates(results, out, options["format"], top) if out else []
    content = document(command, results, time.perf_counter() - start, files, top)
    if out:
        write_json(content, f"{out}/results.json")
    if as_json:
        click.echo(to_json(content))
        for result in results:
            for note in result.notes:
                click.echo(f"Note: {result.name}: {note}", err=True)
    else:
        print_results(results, top)
        click.echo(f"{sum(len(paths) for paths in files)} structures and results.json in {out}")
    return 0 if any(result.candidates for result in results) else 1
