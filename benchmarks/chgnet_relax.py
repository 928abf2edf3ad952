"""Batched relaxation against chgnet's StructOptimizer, one structure at a time: the same starts, time and minima.

python benchmarks/chgnet_relax.py [--quick] [--json FILE] [PACKED.h5]

Both use FIRE with ASE's parameters, so both take about the same steps and the ratio is that of their evaluations.
"""

from __future__ import annotations

import json
import warnings

import chgnet_candidates as shared
import click
import numpy as np

SAME_MINIMUM = 2e-3  # eV per atom
TITLES = {"guests": "frozen host", "positions": "fixed cell", "cell": "full cell"}


@click.command()
@shared.common_options
@click.option("--structures", "n", default=32, show_default=True, help="Structures whose time is taken; 0: none.")
@click.option("--fewest", default=16, show_default=True, help="Atoms of the smallest structure.")
@click.option("--most", default=24, show_default=True, help="Atoms of the largest structure.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(list(TITLES)), default=("guests", "cell"))
@click.option("--shift", default=0.3, show_default=True, help="Displacement of guests, A, standard deviation.")
@click.option("--fmax", default=0.05, show_default=True, help="eV/A")
@click.option("--max-steps", default=500, show_default=True)
@click.option("--minima", default=50, show_default=True, help="Small structures to compare minima of; 0: none.")
@click.option("--row-budget", type=int, help="Directed edges and angles in a batch.")
def main(
    file, seed, device, weights, quick, json_file, n, fewest, most, modes, shift, fmax, max_steps, minima, row_budget
) -> None:
    """Compare on crystals of a packed FILE, by default that of the tests, with displaced guests.

    First the time of structures of one size in each mode, then, with the cell free, how many of `--minima` structures
    of 4 to 8 atoms end in the same minimum.
    """
    import torch

    warnings.simplefilter("ignore")  # chgnet's own
    torch.set_num_threads(1)
    if quick:
        n, fewest, most, minima = 6, 8, 14, min(minima, 8)
    report = {"weights": weights, "device": device, "fmax": fmax}
    model = shared.chgnet_as_published(weights, device)
    if n:
        crystals, guests = shared.candidates(file, n, fewest, most, shift, seed)
        report |= _speeds(model, crystals, guests, modes, fmax, max_steps, weights, device, row_budget)
    if minima:
        crystals, guests = shared.candidates(file, minima, 4, 8, shift, seed + 1)
        print(f"\n{minima} structures of 4-8 atoms:")
        found = report["minima"] = _compare(
            model, crystals, guests, "cell", fmax, max_steps, weights, device, row_budget
        )
        print(f"in the same minimum: {100 * found['same_minimum'] / minima:.0f} %  (at least 95 % wanted)")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _speeds(model, crystals, guests, modes, fmax, max_steps, weights, device, row_budget) -> dict:
    sizes = [len(c) for c in crystals]
    spread = f"{min(sizes)}-{max(sizes)} atoms ({np.mean(sizes):.1f} on average)"
    print(f"{len(crystals)} structures of {spread}, fmax {fmax} eV/A, CHGNet {weights}, {device}, one thread")
    report = {"structures": len(crystals), "mean_atoms": float(np.mean(sizes))}
    for mode in modes:
        report[mode] = _compare(model, crystals, guests, mode, fmax, max_steps, weights, device, row_budget)
    return report


def _compare(model, crystals, guests, mode, fmax, max_steps, weights, device, row_budget) -> dict:
    from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

    options = {"model": weights, "device": device, "row_budget": row_budget}
    relax(crystals[:2], guests[:2], RelaxSettings(mode, max_steps=2), **options)
    _native(model, crystals[:1], guests, mode, fmax, 1, device)
    batched, fast = shared.timed(
        lambda: relax(crystals, guests, RelaxSettings(mode, fmax, max_steps, displacement=0.0), **options), device
    )
    native, slow = shared.timed(lambda: _native(model, crystals, guests, mode, fmax, max_steps, device), device)
    steps = {"chgnet": sum(s for _, s, _ in native), "batched": sum(r.steps for r in batched)}
    converged = {"chgnet": sum(c for _, _, c in native), "batched": sum(r.converged for r in batched)}
    seconds = {"chgnet": slow, "batched": fast}
    clock = "CPU s" if device == "cpu" else "s"
    n = len(crystals)
    print(f"\n{TITLES[mode]:20} {clock:>9} {'s each':>9} {'per s':>9} {'steps':>9} {'converged':>10}")
    for way, name in (("chgnet", "StructOptimizer"), ("batched", "batched")):
        value = seconds[way]
        print(f"{name:20} {value:9.2f} {value / n:9.2f} {n / value:9.2f} {steps[way]:9} {converged[way]:10}")
    apart = np.array([r.energy_per_atom - e for r, (e, _, _) in zip(batched, native, strict=True)])
    same, lower, higher = (
        int(x.sum()) for x in (abs(apart) < SAME_MINIMUM, apart <= -SAME_MINIMUM, apart >= SAME_MINIMUM)
    )
    diverged = [r.reason for r in batched if r.diverged]
    print(f"{'times faster':20} {slow / fast:9.2f}")
    print(f"same minimum (2 meV/atom): {same} of {n}; batched lower {lower}, higher {higher}, diverged {len(diverged)}")
    return {
        "seconds": seconds,
        "ratio": slow / fast,
        "steps": steps,
        "converged": converged,
        "same_minimum": same,
        "lower": lower,
        "higher": higher,
        "diverged": diverged,
        "energy_difference_eV_per_atom": apart.tolist(),
    }


def _native(model, crystals, guests, mode, fmax, max_steps, device) -> list[tuple[float, int, bool]]:
    """Energy per atom, steps, and whether it converged, of each structure by StructOptimizer."""
    from ase.constraints import FixAtoms

    from inpaint_hpc.scoring.chgnet.models import quiet

    results = []
    with quiet():
        from chgnet.model.dynamics import StructOptimizer

        optimizer = StructOptimizer(model=model, use_device=device)
        for crystal, count in zip(crystals, guests, strict=False):
            atoms = crystal.to_atoms()
            if mode == "guests":
                atoms.set_constraint(FixAtoms(np.arange(len(crystal) - count)))
            options = {"relax_cell": mode == "cell", "verbose": False}
            path = optimizer.relax(atoms, fmax=fmax, steps=max_steps, **options)["trajectory"]
            steps = len(path) - 2  # the start and every step are observed, and the end once more
            results.append((path.energies[-1] / len(crystal), steps, steps < max_steps))
    return results


if __name__ == "__main__":
    main()
