"""`inpaint-hpc benchmark`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint_hpc.cli.benchmark_compare import compare
from inpaint_hpc.cli.benchmark_figure import figure
from inpaint_hpc.cli.benchmark_generation import generation
from inpaint_hpc.cli.benchmark_mno2 import mno2
from inpaint_hpc.cli.benchmark_sites import sites
from inpaint_hpc.cli.benchmark_submit import require_request, require_slurm, submitted
from inpaint_hpc.cli.options import NOISE_OPTIONS, noise_levels, require_device
from inpaint_hpc.cli.run import finish
from inpaint_hpc.cli.score import MATCHERS_HELP, print_summary, read_scores, score_matches
from inpaint_hpc.cli.submit import slurm_options

if TYPE_CHECKING:
    from inpaint_hpc.benchmark.score import ScoredTask


@click.group()
def benchmark() -> None:
    """Take ions out of known crystals, place them again, and say how often they are back.

    wbm, wbm-single and electrodes are campaigns in their folder, run here or, with --cluster slurm, in jobs of SLURM;
    the same command gives the table when these are done.  sites and generation go host by host in this process, mno2 is
    the campaign of `inpaint-hpc demo`.

    Exit status: 0 if every task has a result, 1 if some are missing, 2 after an error, 130 after Ctrl-C.
    """


for _command in (compare, figure, sites, mno2, generation):
    benchmark.add_command(_command)


def _options(max_atoms: int, les: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The options that all protocols share."""
    options = [
        click.argument("sources", nargs=-1, required=True, metavar="INPUT..."),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("benchmark"),
                     show_default=True, help="Folder of the benchmark; the same command goes on there."),
        click.option("--ions", default="Li,Na,K,Mg,Ca,Zn,Al", show_default=True, help="Ions to take out, by commas."),
        click.option("--limit", type=click.IntRange(min=1),
                     help="So many hosts, of wbm for each ion, by hash of their ids."),
        click.option("--max-atoms", type=click.IntRange(min=2), default=max_atoms, show_default=True,
                     help="Largest crystal, with its ions."),
        click.option("--anions", metavar="SYMBOLS",
                     help="Only crystals that hold at least one of these, by commas, and no other of N, O, F, P, S, "
                     "Cl, As, Se, Br, Te, I."),
        click.option("--exclude", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="File with ids of crystals to leave out, one a line."),
        click.option("--samples", type=click.IntRange(min=1), default=16, show_default=True,
                     help="Samples of each task."),
        click.option("--steps", type=click.IntRange(min=1), default=40, show_default=True,
                     help="Steps of the sampler."),
        click.option("--sampler", help="Sampler, as in a configuration.  [default: ancestral]"),
        *NOISE_OPTIONS,
        click.option("--no-score", is_flag=True,
                     help="Samples alone: no CHGNet, no search; the first candidate is the one most samples agree on."),
        click.option("--relax", type=click.Choice(["none", "guests", "positions", "cell"]), default="none",
                     show_default=True, help="What is relaxed before candidates are ranked."),
        click.option("--weights", metavar="NAME|PATH", help="Name of packaged weights, or a .safetensors file."),
        click.option("--cluster", type=click.Choice(["ray", "inline", "slurm"]), default="ray", show_default=True,
                     help="Ray actors on this machine, one worker in this process, or jobs of SLURM; the options from "
                     "--profile to --setup are for these."),
        click.option("--wait", is_flag=True, help="With --cluster slurm: wait until the jobs have ended."),
        click.option("--actors", type=click.IntRange(min=1), help="Number of workers."),
        click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Torch device."),
        click.option("--les/--no-les", default=les, show_default=True,
                     help="Relax the first candidate and the reference fully with CHGNet."),
        click.option("--random", "n_random", type=click.IntRange(min=1), metavar="N",
                     help="Also the chance that a random placement is right, of N for each task."),
        click.option("--matchers", is_flag=True, help=MATCHERS_HELP),
        click.option("--training", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                     help="Packed training set: also shares by the distance of the composition from it."),
        click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Write a row for each task."),
        click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Write everything as JSON."),
    ]  # fmt: skip

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        command = slurm_options(command)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@benchmark.command()
@_options(max_atoms=40)
def wbm(**options: Any) -> int:
    """All atoms of one ion at a time are taken out of each crystal of INPUT.

    INPUT: files in any format.  Dai et al. did so with WBM.
    """
    return _run("wbm", **options)


@benchmark.command("wbm-single")
@_options(max_atoms=40)
def wbm_single(**options: Any) -> int:
    """One atom of the ion at a time is taken out, the others stay.

    INPUT: files in any format.  Each symmetry-distinct site of the ion is one task, which takes out its first atom.
    """
    return _run("wbm-single", **options)


@benchmark.command()
@_options(max_atoms=60, les=True)
def electrodes(**options: Any) -> int:
    """Hosts of insertion electrodes, relaxed without the ions, are filled.

    INPUT: packed files of electrode pairs; pairs that they mark as not recommended are left out.  The ions belong where
    the discharged crystal has them, in fractional coordinates; right is up to 0.3 (V / N)^(1/3) from there, as the host
    has moved.
    """
    return _run("electrodes", **options)


def _run(protocol: str, sources: tuple[str, ...], out: Path, **options: Any) -> int:
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.choosing import Choice, read_ids
    from inpaint_hpc.benchmark.protocols import (
        BENCHMARK,
        hosts_of,
        keep_random,
        prepare,
        references_of,
        rejected_of,
        stol_of,
    )
    from inpaint_hpc.benchmark.random_placement import with_chance
    from inpaint_hpc.benchmark.results import document_of, rows_of, write_csv, write_json, write_results
    from inpaint_hpc.benchmark.training_distance import keep_distances, with_distances
    from inpaint_hpc.campaign.run_directory import RunDirectory
    from inpaint_hpc.cluster.local import choose_workers
    from inpaint_hpc.planning.create_run import create_run

    require_slurm(options)
    choice = Choice(
        ions=_symbols("--ions", options["ions"]),
        limit=options["limit"],
        max_atoms=options["max_atoms"],
        anions=() if options["anions"] is None else _symbols("--anions", options["anions"]),
        exclude=() if options["exclude"] is None else frozenset(read_ids(options["exclude"])),
    )
    # A table of what is done needs neither SLURM nor the device.
    if not (out / BENCHMARK).exists():
        if options["cluster"] == "slurm":
            require_request(options)
        else:
            require_device(options["device"])
    config = prepare(out, sources, choice, options["samples"], protocol, **_sections(options))
    if rejected := rejected_of(out):
        click.echo(f"left out: {len(rejected)} crystals that cannot be used, the first: {rejected[0]}", err=True)
    place = Path(config.output)
    archive = place / "archive.h5"
    status = 0
    # An archive may be of a part, as when tasks were missing when it was made.
    if not archive.exists() or RunDirectory(place).pending_units():
        if options["cluster"] == "slurm":
            if not submitted(out, place, options):
                return 1
        else:
            workers = choose_workers(options["actors"] or "auto", options["threads"], options["device"] or "auto")
            run = create_run(config, gpu_workers=workers.actors if workers.gpus else 0)
            chosen = {name: options[name] for name in ("cluster", "actors", "threads", "device")}
            status = finish(run, verify=False, no_collect=False, top=0, **chosen)
            if not archive.exists():
                return status
    by, stol = "guest_range" if protocol == "electrodes" else "ion", stol_of(out)
    wanted = hosts_of(out)
    scored, attributes = read_scores(archive, stol=stol, wanted=wanted)
    found = {(one.ion, one.host) for one in scored}
    missing = sorted(f"{host} + {ion}" for ion in wanted for host in wanted[ion] if (ion, host) not in found)
    if missing:
        click.echo(f"not in the archive, and not counted: {len(missing)} hosts, the first: {missing[0]}", err=True)
    if options["les"]:
        scored = _with_les(archive, out, scored, options["device"])
    if options["n_random"]:
        keep_random(out, options["n_random"])
        with Archive(archive) as opened:
            scored = with_chance(scored, opened.iter_records(), options["n_random"], stol=stol)
    if options["matchers"]:
        scored = score_matches(archive, scored, references_of(out))
    if options["training"]:
        keep_distances(out, options["training"], scored)
    scored = with_distances(scored, out)
    rows = rows_of(scored, by, attributes)
    how = {"protocol": protocol, "by": by, "symprec_A": 0.1, "stol": stol, "missing": missing}
    document = document_of(scored, rows, attributes, **how)
    if options["csv_file"] is not None:
        write_csv(options["csv_file"], scored)
    if options["json_file"] is not None:
        write_json(options["json_file"], document)
    write_results(out / "results", scored, document, sorted((place / "workers").glob("*.json")))
    print_summary(rows, by)
    return status


def _sections(options: dict[str, Any]) -> dict[str, Any]:
    """Sections of the configuration; keys that were not given are left out, so that folders from before go on."""
    sampling = {"steps": options["steps"], **noise_levels(options)}
    if options["sampler"]:
        sampling["sampler"] = options["sampler"]
    pipeline = {"relax": options["relax"], **({"score": False} if options["no_score"] else {})}
    weights = {"weights": options["weights"]} if options["weights"] else {}
    return {"sampling": sampling, "pipeline": pipeline, **weights}


def _with_les(archive: Path, out: Path, scored: list[ScoredTask], device: str | None) -> list[ScoredTask]:
    from inpaint_hpc.archive.read import Archive
    from inpaint_hpc.benchmark.les import lowest_states, with_states
    from inpaint_hpc.benchmark.protocols import references_of

    wanted, done = {one.task_id for one in scored}, 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if sys.stderr.isatty():
            click.echo(f"\r{done} tasks relaxed for LES", nl=False, err=True)

    device = None if device == "auto" else device
    with Archive(archive) as opened:
        states = lowest_states(opened.iter_records(), out / "les.json", references_of(out), wanted, device, progress)
    if done and sys.stderr.isatty():
        click.echo(err=True)
    return with_states(scored, states)


def _symbols(option: str, text: str) -> tuple[str, ...]:
    from ase.data import atomic_numbers

    from inpaint_hpc.errors import InputError

    symbols = tuple(dict.fromkeys(symbol.strip() for symbol in text.split(",") if symbol.strip()))
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers or symbol == "X"]
    if unknown or not symbols:
        raise InputError(f"{option}: {', '.join(unknown) or 'nothing'} is no element; write symbols such as Li,Na")
    return symbols
