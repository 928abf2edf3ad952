"""All-atom generation: composition and cell given, all atoms placed, compared with the crystal.

    python benchmarks/generation.py ../shared/data/mp_train.h5 --limit 200 --samples 20

Validation crystals, `StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10).get_rms_dist` as in DiffCSP (R. Jiao et al.,
NeurIPS 2023), whose published match rates on MP-20 (another split, other data, cells predicted as well) are 51.5 % with
one sample and 77.9 % with twenty.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", default=200, show_default=True, help="Random validation crystals.")
@click.option("--max-atoms", default=12, show_default=True)
@click.option("--samples", default=20, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(packed, limit, max_atoms, samples, steps, weights, json_file) -> None:
    """Print the chance that one sample matches, and the share of crystals that any of the samples matches."""
    import numpy as np

    from inpaint_hpc.benchmark.reconstruction import Reconstruction, generate_all, summarize
    from inpaint_hpc.crystals.packed import PackedDataset
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.sample import SamplingSettings

    network = load_network(weights)
    dataset = PackedDataset(packed, "val", max_atoms)
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:limit])
    started = time.perf_counter()
    results: list[Reconstruction] = generate_all(
        network, [dataset[int(row)] for row in rows], SamplingSettings(samples=samples, steps=steps)
    )
    report = {"weights": network.info.sha256, "nfe": steps, "samples": samples, "max_atoms": max_atoms}
    report |= summarize(results) | {"seconds": time.perf_counter() - started}
    for name, label in (("one", "one sample"), ("any", f"any of {samples}")):
        low, high = 100 * report[f"{name}_low"], 100 * report[f"{name}_high"]
        print(f"{label:12} {100 * report[name]:5.1f} % ({low:.0f}-{high:.0f})")
    print(f"{report['hosts']} validation crystals of at most {max_atoms} atoms, {steps} NFE, {report['seconds']:.0f} s")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
