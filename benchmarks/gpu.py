"""Everything that is to be known of a GPU, in a few minutes: equal results, speed, memory, a campaign, the tests.

    python benchmarks/gpu.py --device cuda --minutes 8 --json gpu.json
    python benchmarks/gpu.py --device cpu --tiny                      the rehearsal, on any machine

What a stage found is printed and written when it ends, so that a run that is cut short keeps it.  A stage is not begun
where its rough time exceeds what is left of --minutes.  Exit status 1 when a stage failed or a check did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from feed_parts.card import CARDS, Card, figures_of
from gpu_stages import campaign, chgnet, sampling, tools, whole

from inpaint_hpc.environment import package_versions
from inpaint_hpc.files import atomic_path

DATA = Path(__file__).resolve().parent.parent / ".." / "shared" / "data"


def doctor(bench: tools.Bench, out: dict[str, Any]) -> None:
    """What the machine is, and what its memory and its matrix units reach."""
    import torch

    out["python"], out["torch"], out["cuda"] = platform.python_version(), torch.__version__, torch.version.cuda
    out["cores"] = len(os.sched_getaffinity(0))
    out["missing"] = [name for name, version in package_versions().items() if version is None]
    if bench.cuda:
        properties = torch.cuda.get_device_properties(0)
        out["card"], out["memory_GiB"] = torch.cuda.get_device_name(0), properties.total_memory / 2**30
        out["multiprocessors"] = properties.multi_processor_count
        query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem", "--format=csv,noheader"]
        with suppress(OSError):
            out["driver_and_clocks"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    out["copy_GB_per_s"] = bench.copy_bandwidth
    n = 512 if bench.tiny else 8192 if bench.cuda else 2048
    for name, tf32 in (("float32", False), ("tf32", True)) if bench.cuda else (("float32", False),):
        out[f"{name}_TFLOP_per_s"] = tools.matmul_tflops(bench.device, n, tf32)


# Each with its rough seconds on a data centre's GPU, the most worth knowing first.
STAGES: dict[str, tuple[Callable[[tools.Bench, dict[str, Any]], None], float]] = {
    "doctor": (doctor, 5),
    "same": (sampling.same, 20),
    "sampling": (sampling.sampling, 45),
    "chgnet": (chgnet.chgnet, 55),
    "training": (whole.training, 32),
    "memory": (sampling.memory, 12),
    "campaign": (campaign.campaign, 240),
    "tests": (whole.tests, 25),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=15.0, help="in all (15)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--stages", default=",".join(STAGES), help=f"of {','.join(STAGES)}")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with wbm_dev.h5 and electrodes_dev.h5")
    parser.add_argument("--train", type=Path, help="packed file with a split (mp_train.h5 of the folder)")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes of everything")
    arguments = parser.parse_args()
    chosen = arguments.stages.split(",")
    unknown = [name for name in chosen if name not in STAGES]
    if unknown:
        parser.error(f"no stage '{unknown[0]}'; there are {', '.join(STAGES)}")
    warnings.simplefilter("ignore")  # chgnet's own, and torch's of sparse things
    report: dict[str, Any] = {"device": arguments.device, "tiny": arguments.tiny, "stages": {}}

    def save() -> None:
        if arguments.json:
            with atomic_path(arguments.json) as temporary:
                temporary.write_text(json.dumps(report, indent=2, default=float) + "\n")

    train = arguments.train or arguments.data / "mp_train.h5"
    bench = tools.Bench(arguments.device, arguments.data.resolve(), train.resolve(), arguments.tiny, save)
    begun = time.monotonic()
    end = bench.end = begun + 60 * arguments.minutes
    for name in chosen:
        function, rough = STAGES[name]
        out = report["stages"][name] = {}
        if not arguments.tiny and end - time.monotonic() < rough:
            out["skipped"] = f"needs about {rough:.0f} s, {end - time.monotonic():.0f} s are left"
        else:
            started = time.monotonic()
            bench.until = min(end, started + rough)
            bench.card = card_of(report)
            run_stage(function, bench, out)
            out["stage_seconds"] = time.monotonic() - started
        report["seconds"] = time.monotonic() - begun
        save()
        print(f"\n== {name}")
        show(out)
        sys.stdout.flush()
    bad = [name for name, out in report["stages"].items() if "error" in out]
    failed = [
        f"{name}: {k}" for name, out in report["stages"].items() for k, ok in out.get("checks", {}).items() if not ok
    ]
    report["failed"] = [f"{name}: error" for name in bad] + failed
    save()
    print(f"\n{report['seconds']:.0f} s in all;", "; ".join(report["failed"]) or "all checks hold")
    return int(bool(report["failed"]))


def card_of(report: dict[str, Any]) -> Card | None:
    """Figures of the card: from this run, if it has measured them, or what is known of one of that name."""
    with suppress(KeyError):
        return Card(figures_of(report))
    known = [Card(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(CARDS.glob("*.json"))]
    name = report["stages"].get("doctor", {}).get("card")
    return next((card for card in known if card.name == name), None)


def run_stage(function: Callable[..., None], bench: tools.Bench, out: dict[str, Any]) -> None:
    """Run a stage; what goes wrong in it is part of what it found."""
    try:
        function(bench, out)
    except Exception as error:
        words = traceback.format_exception(error)
        out["error"] = "".join(words).strip().splitlines()[-12:]
        if isinstance(error, subprocess.TimeoutExpired):
            said = (error.stderr or b"")[-1500:]
            out["said"] = (said.decode(errors="replace") if isinstance(said, bytes) else said).splitlines()
    if bench.cuda:
        import torch

        torch.cuda.empty_cache()


def show(found: dict[str, Any], indent: str = "  ") -> None:
    """Print what a stage found, a line for each figure or row of figures; of kernels only the first three."""
    for name, value in found.items():
        if isinstance(value, dict) and any(isinstance(inner, (dict, list)) for inner in value.values()):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        elif isinstance(value, list) and value:
            print(f"{indent}{name}")
            for row in value[:3] if name in ("top", "kernels") else value:
                print(f"{indent}  {_words(row)}")
        else:
            print(f"{indent}{name:32} {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
