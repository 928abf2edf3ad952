"""Sampling stages of the GPU benchmark: agreement with a CPU, speed, and behaviour when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystals
from inpaint_hpc.sampling.batching import default_edge_budget
from inpaint_hpc.sampling.sample import SampleSet, SamplingSettings, Task, sample

from .tools import Bench, emptied_tasks, kernels, quantiles, sound_crystals

SAME = 1e-3  # A
SLOW_CALL, LONGEST_CALL = 4.0, 8.0  # s; no larger call after one that took the first, or if it would take the second
ENERGY_LIMIT, FORCE_LIMIT = 1e-5, 1e-3  # eV per atom and eV/A, as in chgnet_throughput.py
SHAPES = {
    "10-20 atoms, 1 guest": (10, 20, 1),
    "10-20 atoms, 4 guests": (10, 20, 4),
    "40-60 atoms, 1 guest": (40, 60, 1),
    "40-60 atoms, 4 guests": (40, 60, 4),
}


def differences(first: Sequence[SampleSet], second: Sequence[SampleSet]) -> np.ndarray:
    """Largest distance in A of a guest from its counterpart, nearest image, of each sample."""
    found = []
    for a, b in zip(first, second, strict=True):
        apart = a.frac_coords - b.frac_coords
        apart = (apart - np.round(apart)) @ a.task.host.lattice
        found.append(np.linalg.norm(apart, axis=-1).max(axis=1))
    return np.concatenate(found)


def _summary(apart: np.ndarray) -> dict[str, Any]:
    moved = apart[apart > SAME]
    return {
        "samples": len(apart),
        "within_1e-3_A": float((apart <= SAME).mean()),
        "distance_A": quantiles(apart),
        "of_the_rest_A": quantiles(moved),
    }


def _bits(first: Sequence[SampleSet], second: Sequence[SampleSet]) -> bool:
    return all(np.array_equal(a.frac_coords, b.frac_coords) for a, b in zip(first, second, strict=True))


def same(bench: Bench, out: dict[str, Any]) -> None:
    """The same samples and energies on a CPU and on the device, and twice on the device."""
    from inpaint_hpc.network.weights import load_network

    n, samples, steps = (3, 2, 8) if bench.tiny else (20, 4, 40)
    pool = emptied_tasks(bench.wbm, 10 * n, 2 if bench.tiny else 8, 40)
    several = [task for task in pool if len(task.guests) > 1][: n // 2]
    tasks = [task for task in pool if len(task.guests) == 1][: n - len(several)] + several
    settings = SamplingSettings(samples=samples, steps=steps)
    network = load_network(device=bench.device)
    on_cpu, out["cpu_seconds"] = bench.timed(lambda: sample(load_network(device="cpu"), tasks, settings))
    sample(network, tasks[:1], replace(settings, samples=1, steps=2))
    on_device, out["device_seconds"] = bench.timed(lambda: sample(network, tasks, settings))
    again = sample(network, tasks, settings)
    out["sampling"] = _summary(differences(on_cpu, on_device))
    one_by_one = [sample(network, [task], settings)[0] for task in tasks]
    out["sampling_alone"] = _summary(differences(one_by_one, on_device))
    checks = out["checks"] = {"samples_twice_bit_for_bit": _bits(on_device, again)}
    checks["samples_as_on_cpu"] = out["sampling"]["within_1e-3_A"] >= 0.9
    bench.save()
    out["energies"] = _energies(bench)
    checks["energies_as_on_cpu"] = out["energies"]["largest_eV_per_atom"] <= ENERGY_LIMIT
    checks["forces_as_on_cpu"] = out["energies"]["largest_eV_per_A"] <= FORCE_LIMIT
    out["energies_twice_bit_for_bit"] = out["energies"].pop("bits")


def _energies(bench: Bench) -> dict[str, Any]:
    from inpaint_hpc.scoring.chgnet.batch import evaluate

    crystals = sound_crystals(bench, 4 if bench.tiny else 40, 4, 30)
    cpu = evaluate(crystals, what="efs")
    first, second = (evaluate(crystals, device=bench.device, what="efs") for _ in range(2))
    bits = all(bool((getattr(first, k) == getattr(second, k)).all()) for k in ("energy_per_atom", "forces", "stress"))
    return {
        "crystals": len(crystals),
        "largest_eV_per_atom": float((cpu.energy_per_atom - first.energy_per_atom).abs().max()),
        "largest_eV_per_A": float((cpu.forces - first.forces).abs().max()),
        "largest_GPa": float((cpu.stress - first.stress).abs().max()),
        "twice_largest_eV_per_A": float((first.forces - second.forces).abs().max()),
        "bits": bits,
    }


def sampling(bench: Bench, out: dict[str, Any]) -> None:
    """Samples per second over sizes of hosts, guests and calls; kernels and memory traffic of a step."""
    import torch

    from inpaint_hpc.network.weights import load_network

    network = load_network(device=bench.device)
    settings = SamplingSettings(samples=16, steps=8 if bench.tiny else 40)
    totals = (32,) if bench.tiny else (256, 2_048, 16_384, 65_536) if bench.cuda else (64,)
    shapes = dict(list(SHAPES.items())[:2]) if bench.tiny else SHAPES
    if bench.tiny:
        shapes = {name: (3, 12, guests) for name, (_, _, guests) in shapes.items()}
    tasks = {name: emptied_tasks(bench.crystals, max(1, totals[-1] // 16), *shape) for name, shape in shapes.items()}
    rows = out["rates"] = []
    for hosts in ("many", "one"):
        for name, found in tasks.items():
            if found and bench.left > 0:
                rows += _rates(bench, network, found, settings, totals, name, hosts)
                bench.save()
    out["network_evaluations"] = settings.nfe
    out["edge_budget"] = default_edge_budget(torch.device(bench.device))
    out["kernels"] = {}
    for name, found in tasks.items():
        few, steps = found[:4], replace(settings, steps=5)
        sample(network, few, steps)
        counted = kernels(lambda few=few, steps=steps: sample(network, few, steps), bench.device)
        # Encoding the host launches as many kernels as one more step.
        counted["launches_per_evaluation"] = counted["launches"] / (steps.nfe + 1)
        out["kernels"][name] = counted
        bench.save()
        if not bench.left > 0:
            break
    out["memory_bound"] = [
        _bound(bench, network, found[:256], settings.nfe, name, rows) for name, found in tasks.items() if found
    ]


def _rates(bench, network, tasks: list[Task], settings, totals, name: str, hosts: str) -> list[dict[str, Any]]:
    """Rates of calls of more and more samples, until one is slow."""
    rows: list[dict[str, Any]] = []
    for total in totals:
        chosen = tasks[: max(1, total // 16)] if hosts == "many" else tasks[:1]
        each = max(1, total // len(chosen))

        def call(chosen=chosen, each=each) -> None:
            sample(network, chosen, settings, samples=each)

        count = each * len(chosen)
        expected = rows[-1]["seconds"] * count / rows[-1]["samples"] if rows else 0.0
        if rows and (rows[-1]["seconds"] > SLOW_CALL or expected > min(LONGEST_CALL, bench.left)):
            break
        _, first, peak = bench.peak_memory(call)
        # The first call of a size may have to allocate memory.
        seconds = first if first > SLOW_CALL / 2 else min(first, bench.timed(call)[1])
        row = {"host": name, "hosts": len(chosen), "samples": count, "seconds": seconds, "first_seconds": first}
        rows.append(row | {"samples_per_s": count / seconds, "peak_GiB": peak})
    return rows


def edge_floats(config: Any, sender_vectors: bool) -> int:
    """Minimum floats that a message layer reads and writes per edge, with a product of matrices in the middle.

    Radial functions and harmonics read (n + 9), hidden units written and read (2 H), weights of all paths written and
    read (2 P), the sender's scalars and vectors read (C [+ 3 C]), with `P = 5 C + Ct`, or `2 C + Ct` where senders
    have no vectors.  What receivers read and write is left out: each has 20 to 60 edges.
    """
    C, Ct, H = config.channels, config.tensor_channels, config.hidden
    paths = (5 if sender_vectors else 2) * C + Ct
    return config.n_basis + 9 + 2 * H + 2 * paths + C * (4 if sender_vectors else 1)


def _bound(bench: Bench, network, tasks: list[Task], nfe: int, name: str, rates: list[dict]) -> dict[str, Any]:
    """Samples per second that the memory's bandwidth allows, by `edge_floats` and edges counted at sampled places.

    bytes of a sample = 4 NFE (L E_host f(vectors) + E_guest (f(no vectors) + (L - 1) f(vectors))), L layers, E edges
    of a sample.
    """
    import torch

    from inpaint_hpc.crystals.neighbors import neighbor_pairs, periodic_images

    c = network.config
    drawn = sample(network, tasks, SamplingSettings(samples=1, steps=4))
    hosts = Crystals.from_list([task.host for task in tasks], bench.device)
    x = np.concatenate([s.frac_coords[0] @ s.task.host.lattice for s in drawn])
    x = torch.as_tensor(x, dtype=torch.float32, device=bench.device)
    owner = torch.as_tensor(np.repeat(np.arange(len(tasks)), [len(t.guests) for t in tasks])).to(bench.device)
    images = [periodic_images(hosts.cells, cutoff) for cutoff in (c.host_cutoff, c.guest_cutoff)]
    near_host = len(neighbor_pairs(x, owner, hosts.positions, hosts.crystal, images[0])) / len(tasks)
    near_guest = len(neighbor_pairs(x, owner, x, owner, images[1], same=True)) / len(tasks)
    full, first = edge_floats(c, True), edge_floats(c, False)
    moved = 4 * nfe * (c.guest_layers * near_host * full + near_guest * (first + (c.guest_layers - 1) * full))
    bound = bench.copy_bandwidth * 1e9 / moved
    best = max((row["samples_per_s"] for row in rates if row["host"] == name), default=0.0)
    return {
        "host": name,
        "host_edges": near_host,
        "guest_edges": near_guest,
        "MB_per_sample": moved / 1e6,
        "bound_samples_per_s": bound,
        "best_samples_per_s": best,
        "share_of_bound": best / bound,
    }


def memory(bench: Bench, out: dict[str, Any]) -> None:
    """Sampling and energies when the GPU really runs out of memory: smaller batches, the same results."""
    import torch

    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.scoring.chgnet.batch import evaluate

    if not bench.cuda:
        out["skipped"] = "no GPU"
        return
    network = load_network(device=bench.device)
    n = 32 if bench.tiny else 512
    tasks = emptied_tasks(bench.crystals, n, 10, 60, 4)
    settings = SamplingSettings(samples=16, steps=8, edge_budget=10**9)
    crystals = sound_crystals(bench, n, 15, 25)
    actions = {
        "sample": lambda: sample(network, tasks, settings),
        "evaluate": lambda: evaluate(crystals, device=bench.device, what="efs", row_budget=10**9),
    }
    checks = out["checks"] = {}
    for name, action in actions.items():
        free, _, needed = bench.peak_memory(action)
        torch.cuda.empty_cache()
        held, total = torch.cuda.memory_reserved(), torch.cuda.get_device_properties(0).total_memory
        limit = held + max(0.3 * 2**30, (needed * 2**30 - held) / 6)
        before = torch.cuda.memory_stats().get("num_ooms", 0)
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total))
        try:
            limited, seconds = bench.timed(action)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        met = torch.cuda.memory_stats().get("num_ooms", 0) - before
        row = out[name] = {"needed_GiB": needed, "limit_GiB": limit / 2**30, "times_met": met, "seconds": seconds}
        if name == "sample":
            row |= _summary(differences(free, limited))
            equal = row["within_1e-3_A"] >= 0.99
        else:
            row["largest_eV_per_atom"] = float((free.energy_per_atom - limited.energy_per_atom).abs().max())
            equal = row["largest_eV_per_atom"] <= ENERGY_LIMIT
        checks[f"{name}_met_the_limit"], checks[f"{name}_equal"] = met > 0, equal
        bench.save()
