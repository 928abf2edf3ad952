"""What leaving saddle points costs and finds: the model's placements relaxed with and without it.

python benchmarks/saddle_points.py ../shared/data/electrodes_dev.h5 --mode guests [--hosts 40] [--quick]
python benchmarks/saddle_points.py --mode guests

One ion is placed in each host: the working ion of an electrode pair, or Li and Na in the packaged MnO2 hosts.
"""

# ruff: noqa: E402
from __future__ import annotations

import os
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import click


@click.command()
@click.argument("electrodes", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--mode", default="guests", show_default=True, type=click.Choice(["guests", "positions", "cell"]))
@click.option("--hosts", "n", default=40, show_default=True, help="How many pairs, the first by hash.")
@click.option("--max-atoms", default=40, show_default=True, help="Atoms of the discharged structure.")
@click.option("--samples", default=16, show_default=True)
@click.option("--candidates", default=4, show_default=True, help="Placements relaxed of each host, lowest first.")
@click.option("--fmax", default=0.05, show_default=True, help="eV/A")
@click.option("--max-steps", default=500, show_default=True)
@click.option("--quick", is_flag=True, help="Two small hosts: does it run?")
def main(electrodes, mode, n, max_atoms, samples, candidates, fmax, max_steps, quick) -> None:
    """Print processor time, and how many relaxations ended lower and by how much."""
    from inpaint_hpc import inpaint, load_network
    from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

    if quick:
        n, max_atoms, samples, candidates = 2, 12, 4, 2
    network = load_network(device="cpu")
    seconds, placing, lower, relaxed, better_first, hosts = [0.0, 0.0], 0.0, [], 0, 0, 0
    for name, host, ion in _tasks(electrodes, n, max_atoms):
        started = time.process_time()
        placed = inpaint(network, host, [ion], samples, seed=0).candidates[:candidates]
        placing += time.process_time() - started
        crystals = [host.with_guests(ion, c.guest_frac_coords) for c in placed if c.energy_per_atom is not None]
        ends = []
        for k, displacement in enumerate((0.0, RelaxSettings.displacement)):
            settings = RelaxSettings(mode, fmax, max_steps, displacement=displacement)
            started = time.process_time()
            ends.append(relax(crystals, 1, settings))
            seconds[k] += time.process_time() - started
        pairs = [(a, b) for a, b in zip(*ends, strict=True) if a.converged]
        gains = [(a.energy_per_atom - b.energy_per_atom) * len(a.crystal) for a, b in pairs]
        lower += [gain for gain in gains if gain > 1e-3]
        hosts, relaxed = hosts + 1, relaxed + len(pairs)
        if pairs:
            first = [min(end[k].energy_per_atom for end in pairs) * len(pairs[0][0].crystal) for k in (0, 1)]
            better_first += first[0] - first[1] > 1e-3
        clock = " + ".join(f"{value:.1f}" for value in (placing, *seconds))
        print(f"{name:28} {len(host) + 1:3} atoms  so far {clock} s  lower by {[round(1000 * g) for g in gains]} meV",
              flush=True)  # fmt: skip
    print(f"\n{hosts} hosts, mode {mode}: {seconds[0]:.1f} s without, {seconds[1]:.1f} s with ({_ratio(seconds):.2f})")
    print(
        f"with {placing:.1f} s of sampling and scoring, the same in both: {_ratio([s + placing for s in seconds]):.2f}"
    )
    print(f"{len(lower)} of {relaxed} converged relaxations lower, the lowest of the host in {better_first} of {hosts}")
    if lower:
        gains = sorted(1000 * gain for gain in lower)
        print(f"by {gains[0]:.0f} to {gains[-1]:.0f} meV, median {gains[len(gains) // 2]:.0f} meV")


def _ratio(seconds: list[float]) -> float:
    return seconds[1] / max(seconds[0], 1e-9)


def _tasks(electrodes, n, max_atoms):
    """Name, host and ion."""
    import inpaint_hpc
    from inpaint_hpc.benchmark.voltages import choose_pairs
    from inpaint_hpc.crystals.packed import read_electrodes
    from inpaint_hpc.crystals.reading import read_hosts

    if electrodes:
        for pair in choose_pairs(read_electrodes(electrodes), max_atoms)[:n]:
            yield pair.name, pair.host, int(pair.guest_z)
        return
    for host in read_hosts(Path(inpaint_hpc.__file__).parent / "examples" / "mno2"):
        for ion in (3, 11):
            yield f"{host.name} {'Li' if ion == 3 else 'Na'}", host, ion


if __name__ == "__main__":
    main()
