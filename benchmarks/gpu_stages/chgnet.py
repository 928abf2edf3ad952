"""Stage of the GPU benchmark for energies and relaxation by CHGNet, against chgnet's own optimizer on the same card."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator, crystals_batch
from inpaint_hpc.scoring.chgnet.models import load_chgnet_network, quiet
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

from .tools import Bench, sound_crystals

FMAX, MAX_STEPS, SHIFT = 0.1, 100, 0.1
EQUALITY_STEPS = 40  # with more steps, rounding is amplified further
NATIVE_SECONDS = 12.0  # per mode: structures started until then
# Together and alone: other batches round differently, and a path of a hundred steps amplifies it.
EQUAL_ENERGY, EQUAL_SHIFT = 1e-4, 0.05


def chgnet(bench: Bench, out: dict[str, Any]) -> None:
    """Evaluations of ever larger batches, relaxation one after another and together, and that both agree."""
    sizes = (8, 32, 128, 512, 2048) if bench.cuda else (8, 32)
    sizes, fewest, most = ((4,), 4, 12) if bench.tiny else (sizes, 15, 25)
    crystals = sound_crystals(bench, max(sizes), fewest, most, SHIFT)
    network = load_chgnet_network(device=bench.device)
    evaluator = BatchEvaluator(network, "efs")
    out["row_budget"] = evaluator.row_budget
    rows = out["evaluation"] = []
    for size in sizes:
        batch = crystals_batch(crystals[:size])
        evaluator(batch)
        result, seconds, peak = bench.peak_memory(lambda b=batch: evaluator(b))
        atoms = len(batch.numbers)
        rows.append(
            {
                "structures": size,
                "atoms": atoms,
                "rows": int(result.rows.sum()),
                "seconds": seconds,
                "us_per_atom_step": 1e6 * seconds / atoms,
                "peak_GiB": peak,
            }
        )
        bench.save()
        if 8 * seconds > bench.left:
            break
    out["best_us_per_atom_step"] = min(row["us_per_atom_step"] for row in rows)
    checks = out["checks"] = {}
    _equality(bench, out, checks)
    bench.save()
    together = 4 if bench.tiny else 384 if bench.cuda else 8
    for mode in ("cell", "positions"):
        if out.get("cell") and bench.left < 10:
            break
        out[mode] = _speeds(bench, crystals, together, mode)
        bench.save()


def _speeds(bench: Bench, crystals: list, together: int, mode: str) -> dict[str, Any]:
    """Structures per second of chgnet's optimizer, one after another, and of `relax`."""
    few = 1 if bench.tiny else 4
    steps = 5 if bench.tiny else MAX_STEPS
    batch = [crystals[k % len(crystals)] for k in range(together)]
    relax(batch[:2], settings=RelaxSettings(mode, max_steps=2), device=bench.device)
    fast, seconds, peak = bench.peak_memory(
        lambda: relax(batch, settings=RelaxSettings(mode, FMAX, steps), device=bench.device)
    )
    native = _native(bench, batch[:few], mode, steps)
    apart = [abs(r.energy_per_atom - e) for r, e in zip(fast, native.pop("energies"), strict=False)]
    return {
        "together": together,
        "seconds": seconds,
        "structures_per_s": together / seconds,
        "steps": sum(r.steps for r in fast),
        "converged": sum(r.converged for r in fast),
        "diverged": sum(r.diverged for r in fast),
        "peak_GiB": peak,
        "native": native,
        "ratio": together / seconds / native["structures_per_s"],
        "ratio_per_step": sum(r.steps for r in fast) / seconds / (native["steps"] / native["seconds"]),
        "largest_eV_per_atom": max(apart),
    }


def _native(bench: Bench, crystals: list, mode: str, steps: int) -> dict[str, Any]:
    with quiet():
        from chgnet.model.dynamics import StructOptimizer
        from chgnet.model.model import CHGNet

        model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False).to(bench.device)
        optimizer = StructOptimizer(model=model, use_device=bench.device)
        options = {"relax_cell": mode == "cell", "verbose": False, "fmax": FMAX}
        optimizer.relax(crystals[0].to_atoms(), steps=1, **options)
        energies, taken, begun = [], 0, time.perf_counter()
        for crystal in crystals:
            path = optimizer.relax(crystal.to_atoms(), steps=steps, **options)["trajectory"]
            taken += len(path) - 2  # the start and every step are observed, and the end once more
            energies.append(path.energies[-1] / len(crystal))
            if time.perf_counter() - begun > NATIVE_SECONDS:
                break
        bench.synchronize()
        seconds = time.perf_counter() - begun
    return {
        "structures": len(energies),
        "seconds": seconds,
        "structures_per_s": len(energies) / seconds,
        "steps": taken,
        "energies": energies,
    }


def _equality(bench: Bench, out: dict[str, Any], checks: dict[str, bool]) -> None:
    """Structures of mixed sizes relaxed together, in refilled batches, and each alone."""
    n, steps = (4, 5) if bench.tiny else (24, EQUALITY_STEPS)
    crystals = sound_crystals(bench, n, 2, 12 if bench.tiny else 40, SHIFT)
    options = {"settings": RelaxSettings("cell", FMAX, steps), "device": bench.device}
    rows = BatchEvaluator(load_chgnet_network(device=bench.device)).estimated_rows(crystals_batch(crystals))
    budget = int(rows.sum() / 4)
    many, seconds = bench.timed(lambda: relax(crystals, row_budget=budget, **options))
    many_again = relax(crystals, row_budget=budget, **options)
    # Only a quarter of them alone if time is short.
    alone, single = bench.timed(
        lambda: [relax([crystal], **options)[0] for crystal in crystals[: n if bench.left > 20 else n // 4]]
    )
    energy, shift, equal = [], [], 0
    for a, b in zip(many, alone, strict=False):
        apart = a.crystal.frac_coords - b.crystal.frac_coords
        shift.append(float(np.linalg.norm(apart @ b.crystal.lattice, axis=1).max()))
        energy.append(abs(a.energy_per_atom - b.energy_per_atom))
        equal += energy[-1] <= EQUAL_ENERGY and shift[-1] <= EQUAL_SHIFT
    out["equality"] = {
        "structures": len(alone),
        "row_budget": budget,
        "equal": equal,
        "same_steps": sum(a.steps == b.steps for a, b in zip(many, alone, strict=False)),
        "largest_eV_per_atom": max(energy),
        "largest_shift_A": max(shift),
        "twice_bit_for_bit": all(
            np.array_equal(a.crystal.frac_coords, b.crystal.frac_coords) for a, b in zip(many, many_again, strict=True)
        ),
        "seconds_together": seconds,
        "seconds_alone": single,
    }
    checks["together_as_alone"] = bool(equal == len(alone))
