"""Results as a campaign makes them, with everything that may occur, from random numbers."""

import hashlib
from contextlib import contextmanager
from dataclasses import fields, replace

import h5py
import numpy as np

from inpaint_hpc.archive.fields import stored_columns
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.row_table import Rows
from inpaint_hpc.archive.rows import Candidate, HostEnergies, Provenance, Relaxed, Sample
from inpaint_hpc.archive.storage import sign
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.crystals.batch import Crystal

WEIGHTS = {"weights_name": "made-up", "weights_sha256": "0123456789abcdef" * 4}


def task_id(number):
    return hashlib.sha256(f"task {number}".encode()).hexdigest()


def make_host(number):
    """The same for the same number; names in several scripts, columns of several kinds, atoms outside of [0, 1)."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(1, 12))
    info = {"energy": float(rng.normal()), "band_gap": None, "label": 'π "x"', "flags": [1, 2], "big": 2**40}
    lattice = 6.0 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    return Crystal(rng.integers(1, 95, n), rng.normal(size=(n, 3)), lattice, f"mp-{number} Ω", info)


def make_record(number, n_samples=6, host=None, newest=False, **changes):
    """Task `number`: hosts repeat; one in seven failed, one in five has no possible sample, one in three no energy."""
    rng = np.random.default_rng([number, 1])
    host = make_host(number // 3) if host is None else host
    guests = tuple(sorted(rng.choice([3, 11, 12], int(rng.integers(1, 4))).tolist()))
    content = {
        "task_id": task_id(number),
        "host": host,
        "guests": guests,
        "n_requested": n_samples,
        "seconds": {"sample": float(rng.random()), ("score" if number % 2 else "relax_all"): float(rng.random())},
        "worker": f"node-{number % 4}",
    }
    if number % 7 == 3:
        content |= {"status": "failed", "error": "ValueError: kaputt, ü", "traceback": "Traceback:\n  line\n"}
        content |= {"attempts": 2, "seconds": {}}
    else:
        content |= make_results(rng, len(guests), n_samples, possible=number % 5 != 4, scored=number % 3 != 2)
        content |= {"notes": ("first note", "second, ß")} if number % 4 == 1 else {}
        content |= changes_of_1_3(rng, content["candidates"]) if newest else {}
    if number % 6 == 0:
        content["reference_frac_coords"] = rng.normal(size=(len(guests), 3))
        content |= changes_of_1_4(content) if newest and number % 7 != 3 else {}
    return TaskRecord(**content | changes)


def changes_of_1_3(rng, candidates):
    """What schema 1.3 adds."""
    energies = HostEnergies(energy=-50.5, relaxed_energy=-51.25, relaxed_volume=100.5, relaxation="converged")
    known = {"potential": "CHGNet 0.3.0", "potential_sha256": "ef" * 32, "treatment": "cell", "fmax": 0.05}
    return {
        "confidence": float(rng.random()),
        "n_evaluations": int(rng.integers(0, 99)),
        "host_energies": energies,
        "provenance": Provenance(**known, relax_steps=500, weights_sha256="ab" * 32, settings_sha256="cd" * 32),
        "candidates": [
            replace(
                one,
                energy_per_guest=-3.5,
                relaxed=Relaxed(outcome="unfinished", steps=9, energy_per_atom=-7.5, energy_per_guest=-3.75),
                placed_agreement=0.25,
                placed_multiplicity=one.multiplicity,
                placed_wyckoff=one.wyckoff,
                coordination=("O4",) * len(one.wyckoff),
            )
            for one in candidates
        ],
    }


def changes_of_1_4(content):
    """What schema 1.4 adds; every third sample or candidate is beyond 3 A."""
    near = {"reference_rmsd": 0.25, "reference_distance": 0.5}
    rows = {
        table: [replace(one, **near) if k % 3 < 2 else one for k, one in enumerate(content[table])]
        for table in ("samples", "candidates")
    }
    rows["candidates"] = [
        replace(
            one,
            environment=("LiO4 tetrahedron, 1.94 A",) * len(one.wyckoff),
            bond_valence_sum=(1.25 if k else np.nan,) * len(one.wyckoff),
        )
        for k, one in enumerate(rows["candidates"])
    ]
    return {**rows, "reference_tolerance": 0.4375}


def make_results(rng, n_guests, n, possible=True, scored=True):
    valid = rng.random(n) < 0.8 if possible else np.zeros(n, dtype=bool)
    n_candidates = min(3, int(valid.sum()))
    candidate = np.full(n, -1)
    candidate[valid] = np.arange(valid.sum()) % max(n_candidates, 1)
    positions = rng.random((n, n_guests, 3))
    distance = 1.5 + rng.random(n)
    if not valid.all():
        broken = int(np.flatnonzero(~valid)[0])
        positions[broken], distance[broken] = np.nan, np.nan
    shown = np.array([np.flatnonzero(candidate == rank)[0] for rank in range(n_candidates)], dtype=int)
    count = np.bincount(candidate[valid], minlength=n_candidates)[:n_candidates]
    numbers = rng.normal(size=(3, n_candidates)) if scored else np.full((3, n_candidates), np.nan)
    spread = np.where(count > 1, rng.random(n_candidates), np.nan)
    multiplicity = rng.integers(1, 9, (n_candidates, n_guests))
    candidates = [
        Candidate(
            rank=rank,
            sample=int(shown[rank]) + 100,
            members=tuple((np.flatnonzero(candidate == rank) + 100).tolist()),
            agreement=count[rank] / max(valid.sum(), 1),
            spread=spread[rank],
            min_distance=distance[shown[rank]],
            guest_frac_coords=positions[shown[rank]],
            energy_per_atom=numbers[0, rank],
            max_force=abs(numbers[1, rank]),
            max_guest_force=abs(numbers[2, rank]),
            multiplicity=tuple(multiplicity[rank].tolist()),
            wyckoff=tuple(rng.choice(["8a", "16c", "192i"], n_guests).tolist()),
            error="" if scored else "CHGNet: too close",
        )
        for rank in range(n_candidates)
    ]
    reason = ["" if fine else "Li within 1.16 A of host O" for fine in valid]
    columns = (np.arange(n) + 100, valid, reason, distance, candidate, positions)
    samples = [Sample(*values) for values in zip(*columns, strict=True)]
    return {"samples": samples, "candidates": candidates}


def with_columns(rows, **columns):
    """The same rows with other values, column by column; names as `Rows` calls them."""
    changed = []
    for k, row in enumerate(rows):
        values = {name: column[k] for name, column in columns.items()}
        relaxed = {name.removeprefix("relaxed_"): v for name, v in values.items() if name.startswith("relax")}
        relaxed = {"outcome" if name == "relaxation" else name: v for name, v in relaxed.items()}
        own = {name: v for name, v in values.items() if not name.startswith("relax")}
        if relaxed:
            own["relaxed"] = replace(row.relaxed or Relaxed(outcome="", steps=0), **relaxed)
        changed.append(replace(row, **own))
    return changed


def write_units(folder, n_tasks, per_unit, n_samples=6, first=0, **attributes):
    """Result files of units with tasks `first` to `first + n_tasks - 1`."""
    paths = []
    for unit, start in enumerate(range(first, first + n_tasks, per_unit)):
        records = [make_record(k, n_samples) for k in range(start, min(start + per_unit, first + n_tasks))]
        paths.append(folder / f"shard-{unit:06d}.h5")
        write_result(paths[-1], records, {**WEIGHTS, "unit": str(unit), "configuration": {"steps": 40}, **attributes})
    return paths


@contextmanager
def changing(path):
    """The HDF5 file open for changes, whose checksum of bytes holds afterwards."""
    with h5py.File(path, "a") as file:
        yield file
    with path.open("r+b") as file:
        sign(file)


def same(first, second):
    """Are two values equal, arrays bit for bit (NaN included), dataclasses field by field?"""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())
    if isinstance(first, Rows):
        return first.kind is second.kind and all(
            same(first[what.key], second[what.key]) for what in stored_columns(first.kind).values()
        )
    if hasattr(first, "__dataclass_fields__"):
        return type(first) is type(second) and all(
            same(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second
