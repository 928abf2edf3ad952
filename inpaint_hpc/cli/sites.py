"""`inpaint-hpc sites`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.options import NOISE_OPTIONS, archive_option, choose_device, noise_levels, parse_guests

if TYPE_CHECKING:
    from inpaint_hpc.network.weights import WeightsInfo
    from inpaint_hpc.sites.site_network import SiteNetwork


@click.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option(
    "--guest",
    "guests",
    multiple=True,
    required=True,
    metavar="EL[=N]",
    help="The ion; with =N, joint samples have N guests.  [default: enough to fill the best sites once, and twice]",
)
@click.option("--symprec", default=0.1, show_default=True, help="Distance tolerance (A) for the host's symmetry.")
@click.option(
    "--merge", default=0.5, show_default=True, help="Positions within this distance (A) of a site belong to it."
)
@click.option("--single", default=8, show_default=True, help="Single-guest samples per round.")
@click.option("--joint", default=4, show_default=True, help="Joint samples per round.")
@click.option("--rounds", type=click.IntRange(min=1), default=4, show_default=True, help="Maximum number of rounds.")
@click.option("--steps", default=40, show_default=True, help="Network evaluations per sample.")
@NOISE_OPTIONS[0]
@NOISE_OPTIONS[1]
@click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same sites.")
@click.option(
    "--energies",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="Maximum number of sites for which CHGNet energies are computed.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
@click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file.")
@click.option("--edge-budget", type=int, help="Maximum graph edges per batch; limits memory.")
@click.option("--out", metavar="DIR", help="Folder for the hosts with all their sites, tables and sites.json.")
@archive_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def sites(hosts: tuple[str, ...], guests: tuple[str, ...], **options: Any) -> int:
    """Find the sites for an ion in host crystals.

    HOST is read as in `inpaint-hpc inpaint`.  Samples are drawn until a round finds no new site; their positions are
    clustered using the host's symmetry.

    For each host, prints a table of sites (Wyckoff position, sites in the cell, share of the samples, spread,
    neighbours, CHGNet energy of one guest relaxed in the frozen host) and the shortest distances between them.

    Example: inpaint-hpc sites LiMn2O4-host.cif --guest Li --out sites
    """
    from inpaint_hpc.crystals.reading import read_hosts
    from inpaint_hpc.errors import InputError

    start = time.perf_counter()
    if len(guests) != 1:
        raise InputError(f"give one ion at a time, not {', '.join(guests)}; run the command once for each")
    ((guest, count),) = parse_guests(guests).items()
    crystals = read_hosts(list(hosts))
    device = choose_device(options["device"])

    from inpaint_hpc.cli.output import PipelineProgress
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.known_limits import limit_notes
    from inpaint_hpc.sampling.settings import SamplingSettings
    from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS
    from inpaint_hpc.sites.find_sites import find_sites_many
    from inpaint_hpc.sites.pooling import PoolingSettings

    pooling = PoolingSettings(
        options["single"],
        options["joint"],
        min(2, options["rounds"]),
        options["rounds"],
        options["symprec"],
        options["merge"],
        SamplingSettings(**{name: options[name] for name in ("steps", "seed", "edge_budget")}, **noise_levels(options)),
    )
    network = load_network(options["weights"], device)
    with PipelineProgress() as progress:
        found = find_sites_many(
            network,
            crystals,
            guest,
            count if "=" in guests[0] else None,
            energies=options["energies"],
            settings=pooling,
            device=device,
            progress=progress,
        )
    for one in found:
        for note in limit_notes(network, one.host, [one.number], DEFAULT_WEIGHTS):
            click.echo(f"Note: {one.host.name}: {note}", err=True)
    return _show(found, network.info, options, time.perf_counter() - start)


def _show(networks: list[SiteNetwork], weights: WeightsInfo, options: dict[str, Any], seconds: float) -> int:
    """Write files and print tables or the JSON document; exit status 1 if no host has a site."""
    from inpaint_hpc.analysis.site_report import site_document, write_sites
    from inpaint_hpc.cli.site_tables import print_sites
    from inpaint_hpc.crystals.checking import reading_notes
    from inpaint_hpc.pipeline.result_files import to_json, write_json

    out, names = options["out"], ("symprec", "merge", "single", "joint", "rounds", "steps", "seed", "energies")
    files = write_sites(networks, out) if out else []
    info = {"name": weights.name, "sha256": weights.sha256}
    settings = {name: options[name] for name in names} | noise_levels(options)
    content = site_document(networks, settings, info, seconds, files)
    if out:
        write_json(content, f"{out}/sites.json")
    if options["archive"]:
        from inpaint_hpc.campaign.result_archive import archive_networks

        archive_networks(options["archive"], networks, settings, info)
    for network in networks:
        for note in reading_notes(network.host):
            click.echo(f"Note: {network.host.name}: {note}", err=True)
    if options["as_json"]:
        click.echo(to_json(content))
    else:
        print_sites(networks, [entry["most_by_distance"] for entry in content["hosts"]])
        if out:
            click.echo(f"sites.cif and sites.csv of {len(files)} hosts and sites.json in {out}")
    return 0 if any(len(network) for network in networks) else 1
