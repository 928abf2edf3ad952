"""Stages of the GPU benchmark that run whole parts of the package: training, a campaign, the tests."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .tools import Bench, emptied_tasks, kernels

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ("train-large", "train-small")
GPU_BATCH = 512
SHARED = 8  # actors that share the card in one more run of the campaign
TEST_SECONDS, CAMPAIGN_SECONDS = 90, 120


def training(bench: Bench, out: dict[str, Any]) -> None:
    """Steps and structures per second of the two training configurations, and of drawing batches alone."""
    import torch

    threads = torch.get_num_threads()
    for name in CONFIGS:
        with tempfile.TemporaryDirectory(prefix="gpu-training-") as folder:
            out[name] = _training(bench, ROOT / "configs" / f"{name}.yaml", Path(folder))
        torch.set_num_threads(threads)  # a configuration may set it
        bench.save()


def _training(bench: Bench, path: Path, folder: Path) -> dict[str, Any]:
    from inpaint_hpc.training.batches import make_batch, training_indices
    from inpaint_hpc.training.config import load_config
    from inpaint_hpc.training.loop import Trainer

    changes: dict[str, Any] = {"data": bench.train, "out": folder / "run"}
    if "pairs:" in path.read_text(encoding="utf-8"):
        pairs = bench.data / "electrodes_train.h5"
        changes["pairs"] = pairs if pairs.exists() else bench.data / "electrodes_dev.h5"
    trainer = Trainer(load_config(path, changes), device=bench.device)
    if bench.tiny or bench.cuda:
        trainer.settings = replace(trainer.settings, batch_size=GPU_BATCH if bench.cuda else 4)
    size, seconds = trainer.settings.batch_size, 0.5 if bench.tiny else 10.0
    for _ in range(1 if bench.tiny else 5):
        trainer.train_step()

    def steps() -> int:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            trainer.train_step()
            count += 1
        return count

    count, taken, peak = bench.peak_memory(steps)
    counted = kernels(lambda: [trainer.train_step() for _ in range(2)], bench.device)
    begun, made = time.process_time(), 0
    for step in range(1 if bench.tiny else 10):
        rows = training_indices(len(trainer.data), step, size, 0)
        make_batch(trainer.data, rows, trainer.settings, trainer.masks, [0, 2, step, 0], "cpu", trainer.pairs)
        made += size
    batches = made / (time.process_time() - begun)
    return {
        "batch_size": size,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "steps": count,
        "steps_per_s": count / taken,
        "structures_per_s": count * size / taken,
        "peak_GiB": peak,
        "launches_per_step": counted["launches"] / 2,
        "kernel_ms_per_step": counted["device_ms"] / 2,
        "batches_structures_per_core_s": batches,
        "kernels": counted["top"],
    }


def campaign(bench: Bench, out: dict[str, Any]) -> None:
    """A campaign of small WBM hosts on one Ray actor and in one process: compares archives and GPU use."""
    with tempfile.TemporaryDirectory(prefix="gpu-campaign-") as text:
        folder = Path(text)
        n = 4 if bench.tiny else 60
        names = [task.host.name for task in emptied_tasks(bench.wbm, n, 2, 40)]
        settings = {
            "output": str(folder / "run"),
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
        (folder / "campaign.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        ways = ("ray", "inline")
        if find_spec("ray") is None:
            out["ray"], ways = "Ray is not installed", ("inline",)
        for way in ways:
            out[way] = _run(bench, folder, way)
            bench.save()
        if bench.cuda and "ray" in ways:
            out["ray_shared"] = _run(bench, folder, "ray", SHARED)
            bench.save()
        if all(out[way].get("status") == 0 for way in ways):
            _compare(out, [folder / way / "archive.h5" for way in ways])
        out.setdefault("checks", {})["every_run_finished"] = all(out[way]["status"] == 0 for way in ways)


def _run(bench: Bench, folder: Path, way: str, actors: int = 1) -> dict[str, Any]:
    place = folder / (way if actors == 1 else f"{way}-{actors}")
    command = [sys.executable, "-m", "inpaint_hpc", "run", str(folder / "campaign.yaml"), "--out", str(place)]
    if actors > 1:
        command += ["--actors", str(actors), "--threads", "1"]
    environment = {"CUDA_VISIBLE_DEVICES": "0"} | os.environ if bench.cuda else dict(os.environ)
    used_file = folder / f"{place.name}.utilization"
    watch = _watch_gpu(used_file) if bench.cuda else None
    begun = time.perf_counter()
    try:
        result = subprocess.run(
            [*command, "--cluster", way, "--top", "0"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            cwd=ROOT,
            env=environment,
            timeout=bench.at_most(CAMPAIGN_SECONDS),
        )
    except subprocess.TimeoutExpired as error:
        return {"status": "cut short", "seconds": error.timeout}
    finally:
        if watch:
            watch.terminate()
            watch.wait()
    seconds = time.perf_counter() - begun
    found: dict[str, Any] = {"status": result.returncode, "seconds": seconds}
    words = (result.stderr + result.stdout).strip().splitlines()
    found["said"] = words[-1:] if result.returncode == 0 else words[-15:]
    counted = re.search(r"(\d+) tasks of (\d+) hosts", result.stderr)
    if counted:
        found["tasks"] = int(counted[1])
        found["tasks_per_s"] = found["tasks"] / seconds
    working = re.search(r"([\d.]+) per s\)", result.stderr)
    if working:
        found["samples_per_s_without_start"] = float(working[1])
    if watch:
        used = [int(word) for word in used_file.read_text(encoding="utf-8").split() if word.isdecimal()]
        found["gpu_percent"] = {"mean": statistics.mean(used), "median": statistics.median(used)} if used else {}
    return found


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


def tests(bench: Bench, out: dict[str, Any]) -> None:
    """The tests that need a GPU."""
    files = [
        str(p)
        for p in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in p.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *files]
    result = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", cwd=ROOT, timeout=bench.at_most(TEST_SECONDS)
    )
    lines = result.stdout.strip().splitlines()
    out["summary"] = lines[-1] if lines else result.stderr.strip().splitlines()[-5:]
    out["failed"] = [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20]
    if result.returncode:
        out["said"] = lines[-40:]
    out["checks"] = {"passed": result.returncode == 0}
