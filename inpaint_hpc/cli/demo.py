"""`inpaint-hpc demo`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.options import require_device
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cli.output import PipelineProgress
    from inpaint_hpc.pipeline.results import InpaintResult


@click.command()
@click.option("--out", default="demo", show_default=True, metavar="DIR", help="Folder for structures and pictures.")
@click.option("--samples", default=16, show_default=True, help="Valid samples per host and ion.")
@click.option("--guests", default="Li,Mg", show_default=True, metavar="EL,EL", help="Ions, placed one at a time.")
@click.option("--seed", default=0, show_default=True, help="The same seed and weights give the same samples.")
@click.option("--no-score", is_flag=True, help="Do not use CHGNet; rank by agreement between samples.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Torch device; auto uses a GPU if there is one.",
)
@click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file.")
@click.option(
    "--cluster",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="Ray actors on this machine, or a single worker in this process.",
)
def demo(out: str, samples: int, guests: str, **options: Any) -> None:
    """Where Li and Mg sit in seven MnO2 polymorphs.

    An ordinary campaign: one ion at a time is placed in each packaged host, on Ray actors, and sites are ranked by
    CHGNet energy.  Writes the run directory with its archive (DIR/run), structures (DIR/ION/HOST/rank-000.cif ...),
    one picture per host (DIR/HOST.png), DIR/results.json and DIR/report.html.
    """
    start = time.perf_counter()
    ions = ions_of(guests)
    require_device(options["device"])
    directory = demo_campaign(Path(out), ions, samples, options["seed"], not options["no_score"], options["weights"])
    results = run_and_read(directory, options["cluster"], options["device"])
    by_host: dict[int, list[InpaintResult]] = {}
    for result in results:
        by_host.setdefault(id(result.host), []).append(result)
    results = [result for group in by_host.values() for result in group]

    from inpaint_hpc.cli.output import PipelineProgress, print_summary
    from inpaint_hpc.pipeline.result_files import document, write_candidates, write_json
    from inpaint_hpc.report.render import write_report
    from inpaint_hpc.report.sources import source_contents

    with PipelineProgress() as progress:
        written: dict[int, list[Path]] = {}
        for ion in ions:
            chosen = [result for result in results if result.guest_label == f"{ion}=1"]
            for result, paths in zip(chosen, write_candidates(chosen, f"{out}/{ion}"), strict=True):
                written[id(result)] = paths
        _draw(list(by_host.values()), out, progress)
    files = [written[id(result)] for result in results]
    seconds = time.perf_counter() - start
    write_json(document("demo", results, seconds, files), f"{out}/results.json")
    print_summary(results)
    drawn, impossible = sum(r.n_drawn for r in results), sum(r.n_invalid for r in results)
    click.echo(f"{drawn} samples, {impossible} of them physically impossible and redrawn; {seconds:.0f} s")
    click.echo(f"{len(by_host)} pictures, {sum(map(len, files))} structures and results.json in {out}")
    write_report(source_contents(directory.path), report := Path(out) / "report.html")
    click.echo(f"open {report} in a browser: every result with its candidates and structure")


def ions_of(guests: str) -> list[str]:
    """Ions by commas, each once."""
    ions = list(dict.fromkeys(part.strip() for part in guests.split(",") if part.strip()))
    if not ions:
        raise InputError("no guests to place: give ions, for example --guests Li,Mg")
    return ions


def demo_campaign(
    out: Path, ions: Sequence[str], samples: int, seed: int, score: bool, weights: str | None
) -> RunDirectory:
    """The run directory OUT/run of one ion at a time in each packaged MnO2 host."""
    from inpaint_hpc.campaign.config import CampaignConfig
    from inpaint_hpc.configuration import validate
    from inpaint_hpc.planning.create_run import create_run

    wanted = {
        "hosts": {"examples": "mno2"},
        "guests": [{ion: 1} for ion in ions],
        "samples": samples,
        "sampling": {"seed": seed},
        "pipeline": {"score": score},
        "weights": weights,
        "output": str(out / "run"),
    }
    return create_run(validate(CampaignConfig, wanted, "demo"))


def run_and_read(directory: RunDirectory, cluster: str, device: str) -> list[InpaintResult]:
    """Run the remaining tasks of the campaign and read its archive, in the order of the hosts' names."""
    from inpaint_hpc.campaign.run_results import collect_run
    from inpaint_hpc.cli.run import RunProgress
    from inpaint_hpc.cluster.local import run_campaign

    with RunProgress() as progress:
        report = run_campaign(directory, cluster, device=device, progress=progress)
    if report.stopped:
        raise InputError(f"stopped by {report.stopped}; run the same command again to continue")
    collect_run(directory)
    return read_results(directory)


def read_results(directory: RunDirectory) -> list[InpaintResult]:
    """Results of a campaign's archive, in the order of the hosts' names."""
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.campaign.task_records import results_of

    with Archive(directory.archive_path) as archive:
        records = sorted(archive.iter_records(), key=lambda record: record.host.name)
    settings = {**directory.info["sampling"], **directory.info["pipeline"]}
    return results_of(records, settings, directory.info["weights"])


def _draw(by_host: list[list[InpaintResult]], out: str, progress: PipelineProgress) -> None:
    from inpaint_hpc.analysis.known_sites import KNOWN_SITES, POLYMORPHS
    from inpaint_hpc.analysis.pictures import host_picture

    for done, results in enumerate(by_host, start=1):
        name = results[0].name
        title = f"{POLYMORPHS[name]}, {name.split('_')[1]}"
        host_picture(results, f"{out}/{name}.png", title, KNOWN_SITES.get(name, ()))
        progress("picture", done, len(by_host))
