"""A campaign on a card: the same archive by a Ray actor and in one process, and how busy one card is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from feed_parts.card import Call, Card

from .tools import Bench, emptied_tasks

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN_SECONDS = 120  # at most, of the campaign whose archives are compared
BUSY_SECONDS, ENDING_SECONDS = 75, 30  # of each campaign that is cut short, and until its workers have ended


def campaign(bench: Bench, out: dict[str, Any]) -> None:
    """Small WBM hosts on one Ray actor and in one process; then one ion of seven in all WBM hosts, as configured by
    default, with CUDA MPS where it can be started, and without."""
    with tempfile.TemporaryDirectory(prefix="gpu-campaign-") as text:
        folder = Path(text)
        _equality(bench, folder, out)
        bench.save()
        if find_spec("ray") is None:
            return
        busy = out["busy"] = {}
        for name, service in (("alone", contextlib.nullcontext({})), ("mps", _multi_process_service(folder))):
            with service as variables:
                if variables is None:
                    busy[name] = {"skipped": "no CUDA MPS here"}
                elif bench.left < 0 and busy:
                    busy[name] = {"skipped": "no time left"}
                else:
                    busy[name] = _busy(bench, folder / name, variables)
            bench.save()
        out["checks"]["tasks_done"] = all(one["tasks"] > 0 for one in busy.values() if "skipped" not in one)


def _equality(bench: Bench, folder: Path, out: dict[str, Any]) -> None:
    """The same campaign on a Ray actor and in one process."""
    names = [task.host.name for task in emptied_tasks(bench.wbm, 4 if bench.tiny else 60, 2, 40)]
    settings = {
        "hosts": {"path": str(bench.data / "wbm_dev.h5"), "select": ",".join(names)},
        "guests": [{"remove": ["Li", "Na", "Mg", "K", "Ca", "Zn"]}],
        "samples": 2 if bench.tiny else 8,
        "sampling": {"steps": 8 if bench.tiny else 40},
        "resources": {
            "device": bench.device,
            "actors": 1,
            # A GPU needs many tasks at a time.
            "min_shards": 8,
            "threads": 1 if bench.tiny else min(8, os.cpu_count() or 1),
        },
    }
    ways = ("ray", "inline")
    if find_spec("ray") is None:
        out["ray"], ways = "Ray is not installed", ("inline",)
    for way in ways:
        out[way] = _run(bench, folder / way, settings, way, CAMPAIGN_SECONDS)
        out[way] |= _counted(folder / way)
        bench.save()
    if all(out[way].get("status") == 0 for way in ways):
        _compare(out, [folder / way / "archive.h5" for way in ways])
    out.setdefault("checks", {})["every_run_finished"] = all(out[way]["status"] == 0 for way in ways)


def _busy(bench: Bench, place: Path, variables: dict[str, str]) -> dict[str, Any]:
    """How fast a large campaign goes with the settings that it has by default, between the first units and the last."""
    from inpaint_hpc.campaign.run_directory import RunDirectory

    settings = yaml.safe_load((ROOT / "configs" / "wbm-all.yaml").read_text(encoding="utf-8"))
    settings["hosts"]["path"] = str(bench.data / "wbm_dev.h5")
    settings["resources"] = {"device": bench.device}
    if bench.tiny:
        settings |= {"samples": 2, "sampling": {"steps": 4}, "guests": [{"Li": 1}]}
        settings["hosts"] = {"path": str(bench.data / "wbm_dev.h5::0:6")}
        settings["resources"]["min_shards"] = 6
    found = _run(bench, place, settings, "ray", BUSY_SECONDS, variables)
    found |= _counted(place)
    if not found["units"]:
        return found
    run = RunDirectory(place)
    reports = sorted(run.reports().values(), key=lambda report: report.time)
    middle = reports[len(reports) // 4 : len(reports) - len(reports) // 4]
    seconds = middle[-1].time - middle[0].time
    if seconds > 0:
        rate = sum(report.tasks for report in middle[1:]) / seconds
        found["tasks_per_s"] = rate
        if bench.card is not None:
            found["work_share"] = rate * _work_of_a_task(run, bench.card)
    return found


def _counted(place: Path) -> dict[str, int]:
    """What a run has done."""
    from inpaint_hpc.campaign.run_directory import RunDirectory

    reports = RunDirectory(place).reports().values() if place.is_dir() else ()
    return {
        "tasks": sum(report.tasks for report in reports),
        "units": len(reports),
        "workers": len({report.worker for report in reports}),
        "failed": sum(report.failed for report in reports),
    }


def _work_of_a_task(run: Any, card: Card) -> float:
    """Seconds that a task takes the card in full batches."""
    from inpaint_hpc.archive.read import Archive

    paths, evaluations = run.result_paths(), run.settings()[0].nfe + 1
    work, tasks = 0.0, 0
    for path in paths[:: max(1, len(paths) // 4)]:
        with Archive(path) as archive:
            for record in archive.iter_records():
                atoms, guests, drawn = len(record.host), len(record.guests), len(record.samples)
                calls = [
                    Call("sampling", drawn, drawn * guests, evaluations),
                    Call("energies", 1, atoms),
                    Call("forces", len(record.candidates), len(record.candidates) * (atoms + guests)),
                ]
                work += sum(card.cost(call).work for call in calls)
                tasks += 1
    return work / max(1, tasks)


@contextlib.contextmanager
def _multi_process_service(folder: Path) -> Iterator[dict[str, str] | None]:
    """Variables of processes that share the card by a daemon of our own; None where there is none."""
    program = shutil.which("nvidia-cuda-mps-control")
    if program is None:
        yield None
        return
    variables = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "mps-log")}
    for place in variables.values():
        Path(place).mkdir()
    begun = subprocess.run([program, "-d"], env=os.environ | variables, capture_output=True)
    try:
        yield variables if begun.returncode == 0 else None
    finally:
        subprocess.run([program], input=b"quit\n", env=os.environ | variables, capture_output=True)


def _run(
    bench: Bench,
    place: Path,
    settings: dict[str, Any],
    way: str,
    seconds: float,
    variables: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run a campaign for at most so many seconds: status, wall time, and use of the card by `nvidia-smi`."""
    config = place.with_suffix(".yaml")
    config.write_text(json.dumps(settings | {"output": str(place)}), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "inpaint_hpc", "run", str(config), "--cluster", way, "--top", "0"]
    environment = ({"CUDA_VISIBLE_DEVICES": "0"} if bench.cuda else {}) | os.environ | (variables or {})
    used_file, words_file = place.with_suffix(".utilization"), place.with_suffix(".words")
    watch = _watch_gpu(used_file) if bench.cuda else None
    begun = time.perf_counter()
    with open(words_file, "wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        try:
            status: Any = process.wait(bench.at_most(seconds))
        except subprocess.TimeoutExpired:
            status = "cut short"
        finally:
            _end(process)
            if watch:
                _end(watch)
    found: dict[str, Any] = {"status": status, "seconds": time.perf_counter() - begun}
    said = words_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    found["said"] = said[-1:] if status == 0 else said[-15:]
    if watch:
        used = [int(word) for word in used_file.read_text(encoding="utf-8").split() if word.isdecimal()]
        found["gpu_percent"] = {"mean": statistics.mean(used), "median": statistics.median(used)} if used else {}
    return found


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch_gpu(path: Path) -> subprocess.Popen | None:
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-l", "1"]
    try:
        with open(path, "w", encoding="utf-8") as file:
            return subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def _compare(out: dict[str, Any], archives: list[Path]) -> None:
    from inpaint_hpc.archive.compare import compare

    if len(archives) == 2:
        found = compare(*archives)
        out["comparison"] = vars(found) | {"fraction_within_1e-3_A": found.fraction_within_tolerance}
        out["checks"] = {
            "same_tasks": found.same_tasks,
            "same_samples": found.fraction_within_tolerance >= 0.99,
        }
