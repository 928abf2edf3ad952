"""`inpaint-hpc demo`."""

from __future__ import annotations

import time
from typing import Any

import click

from inpaint_hpc.cli.options import choose_device
from inpaint_hpc.errors import InputError


@click.command()
@click.option("--out", default="demo", show_default=True, metavar="DIR", help="Where structures and pictures go.")
@click.option("--samples", default=16, show_default=True, help="Valid samples wanted of each host and ion.")
@click.option("--guests", default="Li,Mg", show_default=True, metavar="EL,EL", help="Ions, one placed at a time.")
@click.option("--seed", default=0, show_default=True)
@click.option("--no-score", is_flag=True, help="Without CHGNet: rank by agreement of samples.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--weights", metavar="NAME|PATH", help="Packaged weights or a .safetensors file.")
def demo(out: str, samples: int, guests: str, **options: Any) -> None:
    """Where Li and Mg sit in seven MnO2 polymorphs.

    Places one ion at a time in each of the packaged hosts, ranks the sites by CHGNet energy, and writes structures
    (DIR/ION/HOST/rank-000.cif ...), one picture per host (DIR/HOST.png) and DIR/results.json.
    """
    from inpaint_hpc.analysis.known_sites import packaged_hosts
    from inpaint_hpc.crystals.reading import read_hosts

    start = time.perf_counter()
    ions = list(dict.fromkeys(part.strip() for part in guests.split(",") if part.strip()))
    if not ions:
        raise InputError("no guests to place: give ions like --guests Li,Mg")
    hosts = read_hosts(packaged_hosts())
    device = choose_device(options["device"])

    from inpaint_hpc.campaign.outputs import document, write_candidates, write_json
    from inpaint_hpc.campaign.pipeline import inpaint_many
    from inpaint_hpc.cli.output import PipelineProgress, print_summary
    from inpaint_hpc.network.weights import load_network

    network = load_network(options["weights"], device)
    with PipelineProgress() as progress:
        results = inpaint_many(
            network,
            [host for host in hosts for _ in ions],
            [{ion: 1} for _ in hosts for ion in ions],
            samples,
            seed=options["seed"],
            score=not options["no_score"],
            progress=progress,
        )
        files = [[] for _ in results]
        for column, ion in enumerate(ions):
            chosen = slice(column, None, len(ions))
            files[chosen] = write_candidates(results[chosen], f"{out}/{ion}")
        _draw([results[i : i + len(ions)] for i in range(0, len(results), len(ions))], out, progress)
    seconds = time.perf_counter() - start
    write_json(document("demo", results, seconds, files), f"{out}/results.json")
    print_summary(results)
    drawn, impossible = sum(r.n_drawn for r in results), sum(r.n_invalid for r in results)
    click.echo(f"{drawn} samples, {impossible} of them impossible and drawn again; {seconds:.0f} s")
    click.echo(f"{len(hosts)} pictures, {sum(map(len, files))} structures and results.json in {out}")


def _draw(by_host: list, out: str, progress: Any) -> None:
    from inpaint_hpc.analysis.known_sites import KNOWN_SITES, POLYMORPHS
    from inpaint_hpc.analysis.pictures import host_picture

    for done, results in enumerate(by_host, start=1):
        name = results[0].name
        title = f"{POLYMORPHS[name]}, {name.split('_')[1]}"
        host_picture(results, f"{out}/{name}.png", title, KNOWN_SITES.get(name, ()))
        progress("picture", done, len(by_host))
