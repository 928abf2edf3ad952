"""`inpaint-hpc benchmark generation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inpaint_hpc.cli.host_benchmarks import finish_hosts, host_options
from inpaint_hpc.cli.options import choose_device, noise_levels


@click.command()
@host_options("benchmark-generation", max_atoms=20)
@click.option("--samples", type=click.IntRange(min=1), default=20, show_default=True, help="Samples of each crystal.")
@click.option("--random", "at_random", is_flag=True,
              help="Random placements whose atoms keep apart instead of samples: a baseline.")  # fmt: skip
def generation(sources: tuple[str, ...], out: Path, samples: int, at_random: bool, **options: Any) -> None:
    """All atoms placed, given the composition and the cell of a known crystal.

    INPUT: files in any format; of packed files with a column `split` the crystals for training are left out.

    A sample matches by pymatgen's StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10), as in DiffCSP, and is valid if
    all distances are over 0.5 A.
    """
    from inpaint_hpc.benchmark.generation import chosen_crystals, columns, generation_row
    from inpaint_hpc.benchmark.host_rows import FinishedHosts
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.settings import SamplingSettings

    crystals = chosen_crystals(sources, options["limit"], options["max_atoms"])
    network = load_network(options["weights"], choose_device(options["device"]))
    chosen = {"samples": samples, "steps": options["steps"], "seed": options["seed"], **noise_levels(options)}
    asked = {
        "protocol": "generation",
        "input": [Path(source).name for source in sources],
        "weights_sha256": network.info.sha256,
        "settings": {**chosen, "random": at_random},
    }
    settings = SamplingSettings(**chosen)
    settings.levels(network.sigma_max, network.sigma_min)  # refused once, not for each host
    finish_hosts(
        FinishedHosts(out, asked),
        crystals,
        lambda crystal: generation_row(network, crystal, settings, at_random),
        columns(samples),
        "atoms",
        asked,
        options["csv_file"],
        options["json_file"],
    )
