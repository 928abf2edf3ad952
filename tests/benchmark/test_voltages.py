"""Voltages of electrode pairs: which pairs, what a row says, and its errors."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from inpaint_hpc.analysis.metal_references import METAL_ENERGIES
from inpaint_hpc.benchmark.voltages import VoltageProtocol, choose_pairs, pair_voltage, voltage_errors
from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

ELECTRODES = Path(__file__).parents[1] / "data" / "electrodes.h5"


class Knows:
    """Draws every guest to the place it has in the reference."""

    sigma_min, sigma_max, dtype, info = 0.03, 3.5, torch.float64, None

    def __init__(self, pair):
        self.sites = torch.tensor(pair.reference.frac_coords[-pair.n_guest :])

    def encode(self, hosts):
        return hosts

    def denoise(self, hosts, guests, sigma):
        cells = hosts.cells[guests.crystal]
        frac = torch.linalg.solve(cells.transpose(1, 2), guests.positions)
        delta = self.sites[torch.arange(len(frac)) % len(self.sites)] - frac
        return ((delta - torch.round(delta))[:, None] @ cells)[:, 0] / sigma[guests.sample][:, None]


def test_pairs_are_chosen_by_hash_whatever_is_beside_them():
    pairs = read_electrodes(ELECTRODES)
    chosen = choose_pairs(pairs, 40)
    assert 0 < len(chosen) <= len(pairs)
    assert all(pair.info["recommended"] and len(pair.reference) <= 40 for pair in chosen)
    names = [pair.name for pair in chosen]
    assert [pair.name for pair in choose_pairs(pairs[::-1], 40)] == names and names != sorted(names)
    half = {pair.name for pair in pairs[::2]}
    assert [pair.name for pair in choose_pairs(pairs[::2], 40)] == [name for name in names if name in half]
    assert len(choose_pairs(pairs, None)) >= len(chosen)


def test_a_row_is_the_formula_and_right_guests_give_the_voltage_of_the_true_structure():
    pair = min(choose_pairs(read_electrodes(ELECTRODES)), key=lambda pair: (len(pair.reference), pair.name))
    protocol = VoltageProtocol(samples=2, top_k=1, fmax=0.1, max_steps=120)
    row = pair_voltage(Knows(pair), pair, protocol)
    host, true = relax([pair.host, pair.reference], settings=RelaxSettings("cell", fmax=0.1, max_steps=120))
    total = true.energy_per_atom * len(pair.reference) - host.energy_per_atom * len(pair.host)
    charge = {3: 1, 11: 1, 19: 1, 12: 2, 20: 2, 30: 2, 13: 3}[pair.guest_z]
    expected = -(total - pair.n_guest * METAL_ENERGIES["0.3.0"][pair.guest_z]) / (pair.n_guest * charge)
    assert row["true"] == pytest.approx(expected, abs=1e-3)
    assert (row["name"], row["guests"], row["atoms"]) == (pair.name, pair.n_guest, len(pair.reference))
    assert row["reported"] == pytest.approx(float(pair.info["average_voltage"]))
    assert row["converged"]["true"] and row["candidates"] == 1 and row["error"] == ""
    assert row["placed"] == pytest.approx(row["true"], abs=0.1) and abs(row["above_true_eV_per_atom"]) < 0.01


def test_errors_and_their_intervals():
    rows = [{"reported": 3.0, "placed": 3.0 + e, "true": None} for e in (0.2, -0.4, 0.0, 0.6)]
    rows.append({"reported": 3.0, "placed": None, "true": None})
    found = voltage_errors(rows, "placed")
    assert (found["pairs"], found["missing"]) == (4, 1)
    assert found["mae"] == pytest.approx(0.3) and found["mean"] == pytest.approx(0.1)
    assert found["median"] == pytest.approx(0.3)
    assert 0.0 <= found["mae_low"] < 0.3 < found["mae_high"] <= 0.6
    many = voltage_errors(rows[:4] * 100, "placed")
    # The standard error of the mean of 400 values with this spread.
    width = 2 * 1.96 * np.std([0.2, 0.4, 0.0, 0.6]) / math.sqrt(400)
    assert many["mae_high"] - many["mae_low"] == pytest.approx(width, rel=0.1)
    assert voltage_errors(rows, "true") == {"pairs": 0, "missing": 5, "mae": None}
