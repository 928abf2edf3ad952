"""Does torch.compile pay for batched CHGNet?  The hand-written gated MLP against a plain one, compiled.

python benchmarks/chgnet_compile.py [--quick] [--json FILE] [PACKED.h5]

The gated MLPs are most of the work.  Here they are, one after another: differentiated by hand as the package does it,
in plain torch, and in plain torch compiled with dynamic shapes.
"""

from __future__ import annotations

import json
import time
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import chgnet_candidates as shared
import click
import numpy as np


@click.command()
@shared.common_options
@click.option("--candidates", "n", default=24, show_default=True)
@click.option("--fewest", default=10, show_default=True, help="Atoms of the smallest candidate.")
@click.option("--most", default=50, show_default=True, help="Atoms of the largest candidate.")
@click.option(
    "--repeats", default=5, show_default=True, help="Evaluations of all candidates, by turns; the best counts."
)
def main(file, seed, device, weights, quick, json_file, n, fewest, most, repeats) -> None:
    """Print the time of energies, forces and stress of candidates, and of the first call, which compiles."""
    import torch

    from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator
    from inpaint_hpc.scoring.chgnet.models import load_chgnet_network

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    n, most, repeats = (4, 14, 1) if quick else (n, most, repeats)
    crystals, _ = shared.candidates(file, n, fewest, most, 0.2, seed)
    evaluator = BatchEvaluator(load_chgnet_network(weights, device), "efs")
    ways = {
        "by hand": None,
        "plain": _plain_gate,
        "plain, compiled": torch.compile(_plain_gate, dynamic=True),
    }
    first, best, energies = {}, dict.fromkeys(ways, np.inf), {}
    for name, gate in ways.items():
        with _gates(gate):
            start = time.perf_counter()
            energies[name] = evaluator(crystals).to("cpu").energy_per_atom
            first[name] = time.perf_counter() - start
    for _ in range(repeats):
        for name, gate in ways.items():
            with _gates(gate):
                best[name] = min(best[name], shared.timed(lambda: evaluator(crystals), device)[1])
    atoms = np.mean([len(c) for c in crystals])
    print(f"{n} candidates of {atoms:.1f} atoms on average, CHGNet {weights}, {device}, one thread")
    print(f"{'':18} {'first call, s':>14} {'then, ms each':>14} {'ratio':>6} {'structures to break even':>25}")
    report = {"candidates": n, "mean_atoms": float(atoms), "first": first, "best": best}
    for name in ways:
        gained = (best["by hand"] - best[name]) / n
        even = f"{(first[name] - best[name]) / gained:.0f}" if gained > 0 else "-"
        ratio = best["by hand"] / best[name]
        print(f"{name:18} {first[name]:14.1f} {1e3 * best[name] / n:14.1f} {ratio:6.2f} {even:>25}")
        assert (energies[name] - energies["by hand"]).abs().max() < 1e-5
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _plain_gate(hidden, factor, weights):
    """The forward pass of `gated_mlp._Gate`, for autograd to differentiate."""
    import torch
    import torch.nn.functional as F

    from inpaint_hpc.scoring.chgnet.gated_mlp import LAYER_NORM_EPS

    width = hidden.shape[1] // 2
    if weights.core is None:
        halves = hidden.view(-1, 2, width)
    else:
        active = F.silu(hidden)
        core = torch.addmm(weights.core_bias, active[:, :width], weights.core)
        halves = torch.stack([core, torch.addmm(weights.gate_bias, active[:, width:], weights.gate)], 1)
    if weights.scale is not None:
        halves = halves * (halves.square().mean(2, keepdim=True) + LAYER_NORM_EPS).rsqrt()
        halves = halves * weights.scale + weights.shift
    out = F.silu(halves[:, 0]) * torch.sigmoid(halves[:, 1])
    return out if factor is None else (out.view(-1, *factor.shape) * factor).view(-1, width)


@contextmanager
def _gates(gate):
    """The networks with another gated MLP; None leaves the one of the package."""
    from inpaint_hpc.scoring.chgnet import gated_mlp

    kept = gated_mlp._Gate
    if gate is not None:
        gated_mlp._Gate = SimpleNamespace(apply=gate)
    try:
        yield
    finally:
        gated_mlp._Gate = kept


if __name__ == "__main__":
    main()
