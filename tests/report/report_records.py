"""Tasks in two manganese dioxides: what the page shows of them can be told in advance."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from example_hosts import MNO2

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, HostEnergies, Provenance, Relaxed, Sample, Site
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.crystals.reading import read_hosts

PLACED = Provenance(potential="CHGNet 0.3.0", treatment="none", weights_sha256="ab" * 32, settings_sha256="cd" * 32)
RELAXED = Provenance(potential="CHGNet 0.3.0", treatment="guests", fmax=0.05, relax_steps=500)
VALID = 16


def host(name="alpha_mp-19395"):
    return read_hosts([MNO2 / f"{name}.cif"])[0]


def samples(counts, guests):
    """Valid samples, so many of each candidate."""
    owners = [rank for rank, n in enumerate(counts) for _ in range(n)]
    return [
        Sample(
            index=k, valid=True, reason="", min_distance=2.0, candidate=rank, guest_frac_coords=np.zeros((guests, 3))
        )
        for k, rank in enumerate(owners)
    ]


def candidate(rank, site, frac, energy, count, atoms, **changes):
    """`energy` is eV per guest above an empty host of -97 eV."""
    guests = len(frac)
    given = {
        "rank": rank,
        "sample": 0,
        "agreement": count / VALID,
        "spread": 0.02,
        "min_distance": 2.48,
        "energy_per_atom": (-97.0 + guests * energy) / (atoms + guests),
        "energy_per_guest": energy,
        "max_guest_force": 0.01,
        "guest_frac_coords": np.array(frac, dtype=float),
        "multiplicity": (1,) * guests,
        "wyckoff": (site,) * guests,
        "coordination": ("O4",) * guests,
        "members": tuple(range(count)),
    }
    return Candidate(**given | changes)


def record(title, guests, counts, candidates, crystal=None, **changes):
    crystal = host() if crystal is None else crystal
    # An archive keeps equal hosts once, under one name: those with other names differ a little.
    digest = hashlib.sha256(title.encode(errors="replace")).digest()
    crystal = replace(crystal, name=title, lattice=crystal.lattice * (1 + 1e-9 * int.from_bytes(digest[:2], "big")))
    given = {
        "task_id": hashlib.sha256(f"{title} {guests} {len(changes)}".encode()).hexdigest(),
        "host": crystal,
        "guests": guests,
        "n_requested": VALID,
        "samples": samples(counts, len(guests)),
        "candidates": candidates,
        "seconds": {"sample": 1.5, "score": 0.5},
        "worker": "node-1",
        "host_energies": HostEnergies(energy=-97.0, relaxed_energy=-97.0, relaxed_volume=crystal.volume),
        "provenance": PLACED,
    }
    return TaskRecord(**given | changes)


def apart():
    """The lowest energy is at 2a, most samples chose 2b: confidence belongs to the former."""
    found = [
        candidate(0, "2a", [[0.0, 0.0, 0.0]], -4.75, 6, 12),
        candidate(1, "8h", [[0.1, 0.2, 0.3]], -4.71, 2, 12),
        candidate(2, "2b", [[0.5, 0.5, 0.0]], -4.45, 8, 12),
    ]
    return record("alpha", (3,), [6, 2, 8], found, confidence=0.46)


def filled(n):
    """One host with n Li; two of them are on the hull."""
    frac = [[0.1 * k, 0.2, 0.3] for k in range(n)]
    energy = {1: -5.4, 2: -5.3, 4: -4.0}[n]
    found = [candidate(0, "8a", frac, energy, VALID, 12)]
    return record("lambda", (3,) * n, [VALID], found, host("lambda_mp-25275"), confidence=1.0)


def relaxed():
    """The guest moved from 4e to 2a; the page can show both."""
    moved = Relaxed(
        energy_per_atom=(-97.0 - 4.8) / 13,
        energy_per_guest=-4.8,
        outcome="converged",
        steps=7,
        max_force=0.01,
        guest_frac_coords=np.array([[0.25, 0.25, 0.25]]),
    )
    found = [
        candidate(
            0, "2a", [[0.0, 0.0, 0.0]], -4.0, VALID, 12, relaxed=moved, placed_agreement=1.0, placed_wyckoff=("4e",)
        )
    ]
    return record("relaxed", (11,), [VALID], found, provenance=RELAXED)


def failed(title="broken", error="ValueError: two atoms are 0.02 A apart"):
    return record(title, (12,), [], [], status="failed", error=error, traceback="Traceback\n  line", attempts=2)


def nothing():
    """No sample was possible."""
    impossible = Sample(
        index=0,
        valid=False,
        reason="Li-O too close",
        min_distance=0.3,
        candidate=-1,
        guest_frac_coords=np.zeros((1, 3)),
    )
    return record("full", (3,), [], [], samples=[impossible], notes=("all samples are impossible",))


def site_network():
    """A search for sites: no candidates."""
    sites = [
        Site(
            ion=3,
            orbit=k,
            wyckoff=name,
            coordination='{"O": [4, 2.01]}',
            occupancy=share,
            spread=0.1,
            energy=-100.0 + k,
            shift=0.1,
            settles_on=k,
            symprec=0.1,
            positions=64,
            saturated=True,
            frac_coords=np.array([[0.1 * k, 0.0, 0.0]]),
        )
        for k, (name, share) in enumerate([("8a", 0.75), ("16c", 0.25)])
    ]
    return record("network", (3,), [], [], samples=[], sites=sites)


def write_archive(path, records):
    write_result(path, records, {"weights_name": "tiny", "weights_sha256": "ab" * 32, "versions": {"torch": "2"}})
    return path


def all_kinds():
    return [apart(), filled(1), filled(2), filled(4), relaxed(), failed(), nothing(), site_network()]
