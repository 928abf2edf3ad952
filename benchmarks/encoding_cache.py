"""Cached host encoding against encoding the host again at every step: same weights, same samples, one run.

python benchmarks/encoding_cache.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np


class Recoding:
    """A score network that forgets: every `denoise` encodes the hosts first.

    Args:
        network: the network.
        per_sample: a copy of the host for each sample, else one for all samples of a host.
    """

    def __init__(self, network, per_sample: bool) -> None:
        self.network, self.per_sample = network, per_sample
        self.sigma_min, self.sigma_max = network.sigma_min, network.sigma_max
        self.cutoff, self.guest_cutoff = network.cutoff, network.guest_cutoff
        self.parameters = network.parameters
        self.training = False

    def encode(self, hosts):
        return hosts

    def denoise(self, hosts, guests, sigma):
        import torch

        from inpaint_hpc.crystals.batch import Crystals, Guests

        if not self.per_sample:
            return self.network.denoise(self.network.encode(hosts), guests, sigma)
        copies = [_member(hosts, int(b)) for b in guests.host]
        encoding = self.network.encode(Crystals.cat(copies))
        own = Guests(guests.numbers, guests.positions, guests.sample, torch.arange(len(copies)))
        return self.network.denoise(encoding, own, sigma)


def _member(hosts, b):
    import torch

    from inpaint_hpc.crystals.batch import Crystals

    rows = hosts.crystal == b
    zeros = torch.zeros(int(rows.sum()), dtype=torch.long)
    return Crystals(hosts.numbers[rows], hosts.positions[rows], hosts.cells[b : b + 1], zeros)


@click.command()
@click.option("--atoms", default=50, show_default=True, help="Host atoms (the nearest multiple of 6).")
@click.option("--guests", default=1, show_default=True)
@click.option("--samples", default=16, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--weights", default=None)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(atoms, guests, samples, steps, weights, json_file) -> None:
    """Time both ways on a rutile supercell and compare their samples."""
    import torch

    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.crystals.reading import read_hosts
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.sampling.minimum_image import PeriodicCell
    from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample

    torch.set_num_threads(1)
    network = load_network(weights)
    examples = Path(__file__).resolve().parent.parent / "inpaint_hpc" / "examples" / "mno2"
    (unit,) = read_hosts([str(examples / "beta_mp-510408.cif")])
    n = max(1, round(atoms / len(unit)))
    frac = np.concatenate([(unit.frac_coords + np.array([0, 0, k])) / [1, 1, n] for k in range(n)])
    host = Crystal(np.tile(unit.numbers, n), frac, unit.lattice * np.array([[1], [1], [n]]), "beta-MnO2 supercell")
    task, settings = Task(host, {"Li": guests}), SamplingSettings(samples=samples, steps=steps)
    sample(network, [task], SamplingSettings(samples=1, steps=2))  # warm up
    ways = {"cached": network, "again, per sample": Recoding(network, True), "again, shared": Recoding(network, False)}
    seconds, coords = {}, {}
    for name, net in ways.items():
        started = time.perf_counter()
        coords[name] = sample(net, [task], settings)[0].frac_coords
        seconds[name] = time.perf_counter() - started
    report = {"host_atoms": len(host), "samples": samples, "nfe": settings.nfe, "seconds": seconds, "again": {}}
    print(f"{len(host)} host atoms, {samples} samples, {settings.nfe} NFE, one thread")
    for name in ways:
        ratio = seconds[name] / seconds["cached"]
        moved = PeriodicCell(host.lattice).vectors(coords[name] - coords["cached"])
        shift = float(np.linalg.norm(moved, axis=-1).max())
        report["again"][name] = {"ratio": ratio, "largest_shift_A": shift}
        print(f"{name:20} {seconds[name]:8.2f} s  ratio {ratio:6.1f}  largest shift {shift:.0e} A")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
