"""`inpaint-hpc benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inpaint_hpc.cli.run import finish
from inpaint_hpc.cli.score import print_summary, write_scores


@click.command()
@click.argument("protocol", type=click.Choice(["wbm"]))
@click.argument("sources", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("benchmark"), show_default=True,
              help="Folder of the benchmark; the same command goes on there.")  # fmt: skip
@click.option("--ions", default="Li,Na,K,Mg,Ca,Zn,Al", show_default=True, help="Ions to take out, by commas.")
@click.option("--limit", type=click.IntRange(min=1), help="So many hosts for each ion, by hash of their ids.")
@click.option("--max-atoms", type=click.IntRange(min=2), default=40, show_default=True, help="Largest crystal.")
@click.option("--samples", type=click.IntRange(min=1), default=16, show_default=True, help="Samples of each task.")
@click.option("--steps", type=click.IntRange(min=1), default=40, show_default=True, help="Steps of the sampler.")
@click.option("--relax", type=click.Choice(["none", "guests", "positions", "cell"]), default="none", show_default=True,
              help="What is relaxed before candidates are ranked.")  # fmt: skip
@click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file.")
@click.option("--cluster", type=click.Choice(["ray", "inline"]), default="ray", show_default=True,
              help="Ray actors on this machine, or one worker in this process.")  # fmt: skip
@click.option("--actors", type=click.IntRange(min=1), help="Number of workers.")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Torch device.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each task.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write everything as JSON.")
def benchmark(protocol: str, sources: tuple[str, ...], out: Path, **options: Any) -> int:
    """Take ions out of relaxed crystals, place them again, and say how often they are back.

    PROTOCOL wbm: all atoms of one ion are taken out of each crystal of INPUT (files in any format), as Dai et al. did
    with WBM.  The benchmark is a campaign in OUT, run here; on a cluster, `inpaint-hpc submit OUT/campaign.yaml` runs
    it, and this command then scores it.

    Exit status: 0 if every task has a result, 1 if some are missing, 2 after an error, 130 after Ctrl-C.
    """
    from ase.data import atomic_numbers

    from inpaint_hpc.benchmark.protocols import hosts_of, prepare, rejected_of
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.local import choose_workers
    from inpaint_hpc.errors import InputError
    from inpaint_hpc.planning.create_run import create_run

    ions = [ion.strip() for ion in options["ions"].split(",") if ion.strip()]
    unknown = [ion for ion in ions if ion not in atomic_numbers or ion == "X"]
    if unknown or not ions:
        raise InputError(f"--ions: {', '.join(unknown) or 'nothing'} is no element; write symbols such as Li,Na")
    sections: dict[str, Any] = {"sampling": {"steps": options["steps"]}, "pipeline": {"relax": options["relax"]}}
    if options["weights"]:
        sections["weights"] = options["weights"]
    config = prepare(out, sources, ions, options["limit"], options["max_atoms"], options["samples"], **sections)
    if rejected := rejected_of(out):
        click.echo(f"left out: {len(rejected)} crystals that cannot be used, the first: {rejected[0]}", err=True)
    place = Path(config.output)
    archive = place / "archive.h5"
    status = 0
    # An archive may be of a part, as when tasks were missing when it was made.
    if not archive.exists() or RunDirectory(place).pending_units():
        workers = choose_workers(options["actors"] or "auto", options["threads"], options["device"] or "auto")
        run = create_run(config, gpu_workers=workers.actors if workers.gpus else 0)
        chosen = {name: options[name] for name in ("cluster", "actors", "threads", "device")}
        status = finish(run, verify=False, no_collect=False, top=0, **chosen)
        if not archive.exists():
            return status
    wanted = hosts_of(out)
    rows = write_scores(archive, "ion", options["csv_file"], options["json_file"], wanted=wanted, protocol=protocol)
    print_summary(rows, "ion")
    return status
