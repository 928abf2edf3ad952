"""Stages of the GPU benchmark that run whole parts of the package: training, and the tests."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from .tools import Bench, kernels

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ("train-large", "train-small")
GPU_BATCH = 512
TEST_SECONDS = 90


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
