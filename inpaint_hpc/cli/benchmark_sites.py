"""`inpaint-hpc benchmark sites`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inpaint_hpc.cli.host_benchmarks import finish_hosts, host_options
from inpaint_hpc.cli.options import choose_device, noise_levels


@click.command()
@host_options("benchmark-sites", max_atoms=60)
@click.option(
    "--within",
    type=click.FloatRange(min=0, min_open=True),
    default=0.6,
    show_default=True,
    help="A site is found if the network has one at most so far away (A).",
)
@click.option(
    "--single", type=click.IntRange(min=1), default=8, show_default=True, help="Single-guest samples a round."
)
@click.option("--joint", type=click.IntRange(min=0), default=4, show_default=True, help="Joint samples per round.")
@click.option("--rounds", type=click.IntRange(min=1), default=4, show_default=True, help="Maximum number of rounds.")
@click.option(
    "--random",
    "at_random",
    is_flag=True,
    help="Random possible positions, as many as the most rounds give, instead of samples: a baseline.",
)
def sites(sources: tuple[str, ...], out: Path, at_random: bool, **options: Any) -> None:
    """Site networks, as of `inpaint-hpc sites`, against sites that are known to be occupied.

    INPUT: packed files of electrode pairs (recommended ones; joint samples have as many guests as the discharged
    crystal), packed files with known sites (guest_z, n_sites, sites_frac_coords), or a JSON file of known sites beside
    the CIF files of their hosts.

    Recall is the share of known sites that the network has; precision the share of its sites that are known, up to the
    host's symmetry.
    """
    from inpaint_hpc.benchmark.host_rows import FinishedHosts
    from inpaint_hpc.benchmark.site_recall import COLUMNS, known_hosts, site_row
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.settings import SamplingSettings
    from inpaint_hpc.sites.pooling import PoolingSettings

    hosts = known_hosts(sources, options["limit"], options["max_atoms"])
    network = load_network(options["weights"], choose_device(options["device"]))
    names = ("within", "single", "joint", "rounds", "steps", "seed")
    settings = {name: options[name] for name in names} | {"random": at_random} | noise_levels(options)
    asked = {
        "protocol": "sites",
        "input": [Path(source).name for source in sources],
        "weights_sha256": network.info.sha256,
        "settings": settings,
    }
    pooling = PoolingSettings(
        options["single"],
        options["joint"],
        min(2, options["rounds"]),
        options["rounds"],
        sampling=SamplingSettings(steps=options["steps"], seed=options["seed"], **noise_levels(options)),
    )
    pooling.sampling.levels(network.sigma_max, network.sigma_min)  # refused once, not for each host
    finish_hosts(
        FinishedHosts(out, asked),
        hosts,
        lambda known: site_row(network, known, pooling, options["within"], at_random),
        COLUMNS,
        "guests" if all(known.n_guests is not None for known in hosts) else "ion",
        asked,
        options["csv_file"],
        options["json_file"],
    )
