"""Batched CHGNet against chgnet's own `predict_structure`: the same candidates, time, memory and agreement in one run.

python benchmarks/chgnet_throughput.py [--quick] [--json FILE] [PACKED.h5]
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import chgnet_candidates as shared
import click
import numpy as np

WAYS = {"native": "chgnet", "packed": "batched, as packed", "together": "batched, one graph"}
LIMITS = {"energy_eV_per_atom": 1e-5, "force_eV_per_A": 1e-3, "stress_GPa": 1e-2}


@click.command()
@shared.common_options
@click.option("--candidates", "n", default=64, show_default=True)
@click.option("--fewest", default=10, show_default=True, help="Atoms of the smallest candidate.")
@click.option("--most", default=50, show_default=True, help="Atoms of the largest candidate.")
@click.option("--memory-batch", default=16, show_default=True, help="Candidates in one batch for peak memory; 0: none.")
@click.option("--row-budget", type=int, help="Directed edges and angles in a batch.")
@click.option("--child", type=click.Choice(list(WAYS)), hidden=True)
def main(file, seed, device, weights, quick, json_file, n, fewest, most, memory_batch, row_budget, child) -> None:
    """Compare on crystals of a packed FILE, by default that of the tests, with displaced guests."""
    import torch

    warnings.simplefilter("ignore")  # chgnet's own
    torch.set_num_threads(1)
    n, most = (12, 30) if quick else (n, most)
    crystals, _ = shared.candidates(file, n, fewest, most, 0.2, seed)
    if child:
        # The largest decide how much memory a batch needs.
        largest = sorted(crystals, key=len)[-memory_batch:]
        print(json.dumps(_one_batch(child, largest, weights, device)))
        return
    sizes = [len(c) for c in crystals]
    spread = f"{min(sizes)}-{max(sizes)} atoms ({np.mean(sizes):.1f} on average)"
    print(f"{n} candidates of {spread}, CHGNet {weights}, {device}, one thread")
    report = {"candidates": n, "mean_atoms": float(np.mean(sizes)), "weights": weights, "device": device}
    report |= _times(crystals, weights, device, row_budget)
    if memory_batch:
        arguments = [
            str(file),
            "--seed",
            str(seed),
            "--candidates",
            str(n),
            "--fewest",
            str(fewest),
            "--most",
            str(most),
        ]
        arguments += ["--weights", weights, "--device", device, "--memory-batch", str(memory_batch)]
        report |= _memory(arguments + ["--quick"] * quick, len(crystals[:memory_batch]))
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _times(crystals, weights, device, row_budget) -> dict:
    """Energy, forces and stress of each candidate, both ways by turns."""
    from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
    from inpaint_hpc.scoring.chgnet.models import load_chgnet_network

    model = shared.chgnet_as_published(weights, device)
    evaluator = BatchEvaluator(load_chgnet_network(weights, device), "efs", row_budget)
    structures = [crystal.to_structure() for crystal in crystals]
    model.predict_structure(structures[0], task="efs")
    evaluator(crystals[:2])
    seconds = {"chgnet, one at a time": 0.0, "batched": 0.0}
    largest = dict.fromkeys(LIMITS, 0.0)
    for start in range(0, len(crystals), 16):
        part = slice(start, start + 16)
        native, one = shared.timed(
            lambda p=part: [model.predict_structure(s, task="efs") for s in structures[p]], device
        )
        result, many = shared.timed(lambda p=part: evaluator(crystals[p]).to("cpu"), device)
        seconds["chgnet, one at a time"] += one
        seconds["batched"] += many
        for k, expected in enumerate(native):
            apart = (
                abs(float(result.energy_per_atom[k]) - float(expected["e"])),
                np.abs(result.forces[result.atoms(k)].numpy() - expected["f"]).max(),
                np.abs(result.stress[k].numpy() - expected["s"]).max(),
            )
            largest = {name: max(old, float(new)) for (name, old), new in zip(largest.items(), apart, strict=True)}
    clock = "CPU s" if device == "cpu" else "s"
    for name, value in seconds.items():
        rate = len(crystals) / value
        print(f"{name:24} {value:8.2f} {clock}  {1e3 * value / len(crystals):7.1f} ms each  {rate:7.1f} structures/s")
    ratio = seconds["chgnet, one at a time"] / seconds["batched"]
    print(f"{'times faster':24} {ratio:8.2f}")
    for name, value in largest.items():
        print(f"largest difference       {value:8.1e} {name}  (limit {LIMITS[name]:.0e})")
    return {"seconds": seconds, "ratio": ratio, "largest_difference": largest}


def _memory(arguments: list[str], n: int) -> dict:
    """Peak memory of processes that load the model and evaluate one batch."""
    peaks = {}
    for way, name in WAYS.items():
        command = [sys.executable, __file__, *arguments, "--child", way]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            print(f"peak memory, {name}: not measured, the process ended with {result.returncode}")
            return {}
        peaks[way] = json.loads(result.stdout.splitlines()[-1])
        before, peak = peaks[way]["before_GiB"], peaks[way]["peak_GiB"]
        print(f"peak memory, the {n} largest  {name:20} {peak:6.2f} GiB ({before:.2f} GiB before the batch)")
    ratios = {way: peaks["native"]["peak_GiB"] / peaks[way]["peak_GiB"] for way in WAYS if way != "native"}
    for way, ratio in ratios.items():
        print(f"times less memory         {WAYS[way]:20} {ratio:6.2f}")
    return {"memory": peaks, "memory_ratio": ratios}


def _one_batch(way: str, crystals, weights: str, device: str) -> dict:
    import torch

    from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
    from inpaint_hpc.scoring.chgnet.models import load_chgnet_network, quiet

    def peak() -> float:
        if device != "cpu":
            return torch.cuda.max_memory_allocated() / 2**30
        # Not getrusage: its maximum is inherited from the process that started this one.
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20

    structures = [crystal.to_structure() for crystal in crystals]
    if way == "native":
        model = shared.chgnet_as_published(weights, device)
    else:
        evaluator = BatchEvaluator(load_chgnet_network(weights, device), "efs", 10**9 if way == "together" else None)
    before = peak()
    if way == "native":
        with quiet():
            model.predict_structure(structures, task="efs", batch_size=len(structures))
    else:
        evaluator(crystals)
    return {"before_GiB": before, "peak_GiB": peak()}


if __name__ == "__main__":
    main()
