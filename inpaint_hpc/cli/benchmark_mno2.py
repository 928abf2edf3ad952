"""`inpaint-hpc benchmark mno2`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inpaint_hpc.cli.demo import demo_campaign, ions_of, read_results, run_and_read
from inpaint_hpc.cli.host_benchmarks import print_table, write_results
from inpaint_hpc.cli.options import require_device
from inpaint_hpc.errors import InputError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("mno2"), metavar="[DIR]")
@click.option("--samples", type=click.IntRange(min=1), default=16, show_default=True, help="Valid samples per task.")
@click.option("--guests", default="Li,Mg", show_default=True, metavar="EL,EL", help="Ions, placed one at a time.")
@click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same samples.")
@click.option("--no-score", is_flag=True, help="Do not use CHGNet; rank by agreement between samples.")
@click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="Torch device.")  # fmt: skip
@click.option("--cluster", type=click.Choice(["ray", "inline"]), default="ray", show_default=True,
              help="Ray actors on this machine, or a single worker in this process.")  # fmt: skip
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each task.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write everything as JSON.")
def mno2(
    folder: Path, device: str, cluster: str, csv_file: Path | None, json_file: Path | None, **options: Any
) -> None:
    """The packaged MnO2 polymorphs against guest sites that are known from experiment.

    DIR: the folder of `inpaint-hpc demo`, which is read as it is once it has finished, whatever the options; otherwise
    where that campaign is run.  [default: mno2]

    A candidate is right if its guest is within 0.5 A of a known site.  For three of the seven hosts no site is known.
    """
    from inpaint_hpc.benchmark.mno2 import COLUMNS, HEADINGS, mno2_lines, mno2_row
    from inpaint_hpc.campaign.run_directory import RunDirectory

    place = folder / "run"
    finished = (place / "archive.h5").exists() and not RunDirectory(place).pending_units()
    if finished:
        results = read_results(directory := RunDirectory(place))
    else:
        require_device(device)
        directory = demo_campaign(
            folder, ions_of(options["guests"]), options["samples"], options["seed"], not options["no_score"],
            options["weights"],
        )  # fmt: skip
        results = run_and_read(directory, cluster, device)
    rows = [mno2_row(result) for result in results]
    known = [row for row in rows if row["known"]]
    if not known:
        raise InputError(f"{place}: holds none of the packaged hosts with known sites; give the folder of a demo")
    document = {"protocol": "mno2", "weights_sha256": directory.info["weights"]["sha256"]}
    lines = mno2_lines(rows)
    write_results(folder, rows, known, COLUMNS, (HEADINGS, lines), document, csv_file, json_file)
    print_table(HEADINGS, lines)
    right = sum(row["first"] for row in known)
    click.echo(f"{right} of {len(known)} first candidates are on a known site, "
               f"{sum(row['any'] for row in known)} have any there")  # fmt: skip
