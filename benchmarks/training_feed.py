"""How fast batches are made for training, on one core and by worker processes.

python benchmarks/training_feed.py ../shared/data/mp_train.h5 [--pairs PAIRS.h5] [--workers 14]
"""

from __future__ import annotations

import itertools
import pickle
import time
from pathlib import Path

import click
import torch

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.training.batches import BatchSettings, noised
from inpaint_hpc.training.examples import load_pairs
from inpaint_hpc.training.feed import Steps, feed
from inpaint_hpc.training.masks import MaskMixture


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--pairs", type=click.Path(path_type=Path), help="Electrode pairs: a tenth of the larger crystals.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--batches", default=20, show_default=True, help="To make in each way.")
@click.option("--workers", default=2, show_default=True, help="Processes of the last column.")
def main(file, pairs, batch_size, batches, workers) -> None:
    """Structures per second: drawn on one core, with their noise and target as well, and as workers hand them over."""
    torch.set_num_threads(1)
    print(f"{'atoms':>8}{'drawn /s':>12}{'with target /s':>16}{f'{workers} workers /s':>16}{'MB a batch':>12}")
    for most in (20, 64):
        larger = most > 20
        extra = {"host_noise": 0.2, "host_strain": 0.03, "host_noise_fraction": 0.35, "supercell_atoms": most}
        if pairs and larger:
            extra["pair_fraction"] = 0.1
        settings = BatchSettings(batch_size=batch_size, **(extra if larger else {}))
        known = load_pairs(pairs, most)[0] if pairs and larger else []
        steps = Steps(PackedDataset(file, "train", most), known, settings, MaskMixture(), seed=1)
        size = len(pickle.dumps(steps[0])) / 1e6
        # Workers: enough to see the steady state behind what was drawn ahead before the clock ran.
        ahead = feed(steps, 0, workers, pin_memory=False)
        handed_over = _rate(ahead.__next__, batch_size, batches + 10 * workers, time.perf_counter)
        numbers = itertools.count()
        drawn = _rate(lambda: steps[next(numbers)], batch_size, batches)  # noqa: B023
        target = _rate(lambda: noised(steps[next(numbers)]), batch_size, batches)  # noqa: B023
        print(f"{f'<= {most}':>8}{drawn:12.0f}{target:16.0f}{handed_over:16.0f}{size:12.2f}")


def _rate(make, batch_size: int, batches: int, clock=time.process_time) -> float:
    """By default per second of this core's time: others may use the machine as well."""
    make()
    started = clock()
    for _ in range(batches):
        make()
    return batch_size * batches / (clock() - started)


if __name__ == "__main__":
    main()
