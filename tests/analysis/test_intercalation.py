"""Voltages, hulls and reference metals against hand-made numbers, pymatgen, and what is measured."""

import numpy as np
import pytest
from pymatgen.apps.battery.insertion_battery import InsertionElectrode
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from real_crystals import small_model

from inpaint_hpc.analysis.intercalation import (
    average_voltage,
    intercalation_energy,
    intercalation_hull,
    voltage_curve,
    volume_change,
)
from inpaint_hpc.analysis.metal_references import (
    METAL_ENERGIES,
    compute_metal_energy,
    metal_crystal,
    metal_energy,
)
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.ions import ION_CHARGES, ion_charge
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

# Entries of a made-up host H with 0 to 4 guests: n, eV.
COUNTS = [0, 1, 1, 2, 3, 4, 2]
ENERGIES = [-50.0, -54.0, -53.2, -58.5, -61.9, -66.0, -58.1]


def test_formulas():
    assert intercalation_energy(-58.5, -50.0, 2, -1.9) == pytest.approx((-8.5 + 3.8) / 2)
    assert average_voltage(-58.5, -50.0, 2, -1.9, 1) == pytest.approx(2.35)
    assert average_voltage(-58.5, -50.0, 2, -1.9, 2) == pytest.approx(1.175)
    # From one guest to two.
    assert average_voltage(-58.5, -54.0, 2, -1.9, 1, host_guests=1) == pytest.approx(4.5 - 1.9)
    # A host of twice the size with twice the guests has the same voltage.
    assert average_voltage(-117.0, -100.0, 4, -1.9, 1) == pytest.approx(2.35)
    assert volume_change(105.0, 100.0) == pytest.approx(5.0) and volume_change(90.0, 100.0) == pytest.approx(-10.0)


def test_hull_and_curve_by_hand():
    hull = intercalation_hull(COUNTS, ENERGIES)
    assert hull.stable.tolist() == [0, 3, 5]
    np.testing.assert_allclose(hull.above_hull, [0, 0.25, 1.05, 0, 0.35, 0, 0.4], atol=1e-12)
    np.testing.assert_allclose(hull.formation_energies, [0, 0, 0.8, -0.5, 0.1, 0, -0.1], atol=1e-12)
    curve = voltage_curve(COUNTS, ENERGIES, -1.9, 1)
    assert [(s.start, s.stop) for s in curve] == [(0, 2), (2, 4)]
    assert [s.voltage for s in curve] == pytest.approx([2.35, 1.85])


@pytest.mark.parametrize("seed", range(6))
def test_curves_are_those_of_pymatgen(seed):
    rng = np.random.default_rng(seed)
    counts = np.concatenate([[0, 8], rng.integers(0, 9, 12)])
    energies = -40 - 4.0 * counts - 0.1 * counts * (8 - counts) + rng.normal(0, 0.5, len(counts))
    entries = [
        ComputedStructureEntry(
            Structure(Lattice.cubic(9), ["Li"] * n + ["C"] * 6, rng.random((n + 6, 3))), energy, entry_id=str(k)
        )
        for k, (n, energy) in enumerate(zip(counts.tolist(), energies.tolist(), strict=True))
    ]
    lithium = ComputedStructureEntry(Structure(Lattice.cubic(3), ["Li"], [[0, 0, 0]]), -1.9)
    electrode = InsertionElectrode.from_entries(entries, lithium)
    expected = sorted((pair.voltage for pair in electrode.voltage_pairs), reverse=True)
    curve = voltage_curve(counts, energies, -1.9, 1)
    assert [step.voltage for step in curve] == pytest.approx(expected, abs=1e-8)
    assert {str(row) for row in intercalation_hull(counts, energies).stable} == {
        entry.entry_id for entry in electrode.stable_entries
    }
    whole = sum((step.stop - step.start) * step.voltage for step in curve) / counts.max()
    assert whole == pytest.approx(average_voltage(energies[counts == 8].min(), energies[counts == 0].min(), 8, -1.9, 1))


def test_points_on_a_line_are_no_steps():
    assert intercalation_hull([0, 1, 2, 4], [0.0, -1.0, -2.0, -4.0]).stable.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("counts", "energies", "message"),
    [
        ([0, 1], [0.0], "2 numbers of guests but 1 energies"),
        ([1, 2], [0.0, 1.0], "energy of the empty host"),
        ([0, 0], [0.0, 1.0], "at least one filled"),
        ([], [], "energy of the empty host"),
        ([0, 1], [0.0, np.nan], "not a finite number"),
    ],
)
def test_what_is_no_hull(counts, energies, message):
    with pytest.raises(InputError, match=message):
        intercalation_hull(counts, energies)


def test_no_guests_no_charge_no_voltage():
    with pytest.raises(InputError, match="at least one guest"):
        intercalation_energy(-1.0, -1.0, 0, -1.9)
    with pytest.raises(InputError, match="at least one guest"):
        average_voltage(-1.0, -1.0, 1, -1.9, 1, host_guests=2)
    with pytest.raises(InputError, match="must be positive"):
        average_voltage(-2.0, -1.0, 1, -1.9, 0)
    assert [ion_charge(z) for z in (3, 12, 13)] == [1, 2, 3]
    with pytest.raises(InputError, match="state it"):
        ion_charge(26)


def test_the_table_of_metals_is_what_the_model_gives():
    for number in ION_CHARGES:
        assert compute_metal_energy(number) == pytest.approx(METAL_ENERGIES["0.3.0"][number], abs=1e-3)
        assert metal_energy(number) == METAL_ENERGIES["0.3.0"][number]


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["0.2.0", "r2scan"])
def test_the_tables_of_the_other_weights(weights):
    for number, energy in METAL_ENERGIES[weights].items():
        assert compute_metal_energy(number, weights) == pytest.approx(energy, abs=1e-3)
    assert set(ION_CHARGES) - set(METAL_ENERGIES[weights]) == ({55} if weights == "0.2.0" else set())


def test_metals_that_are_not_in_the_table():
    assert metal_energy(47) == pytest.approx(-2.81, abs=0.02)  # silver
    assert np.isfinite(metal_energy(3, small_model()))
    with pytest.raises(InputError, match="no neighbour within 5 A"):
        metal_energy(55, "0.2.0")
    for number in (0, 8, 25, 200):  # nothing, a gas, a cell of 58 atoms, nothing
        with pytest.raises(InputError, match="no simple metal"):
            metal_crystal(number)


def test_voltage_of_lithium_in_layered_cobalt_oxide():
    """LiCoO2 against Li metal gives about 4 V (K. Mizushima et al., Mater. Res. Bull. 15, 783 (1980)); CHGNet 3.5 V."""
    a, c = 2.83, 14.05
    hexagonal = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    shifts = np.array([[0, 0, 0], [2 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 2 / 3]])
    oxygen = np.concatenate([shifts + [0, 0, 0.26], shifts - [0, 0, 0.26]])
    host = Crystal([27] * 3 + [8] * 6, np.concatenate([shifts, oxygen]), hexagonal)
    full = host.with_guests([3] * 3, shifts + [0, 0, 0.5])
    empty, filled = relax([host, full], settings=RelaxSettings("cell", fmax=0.05))
    voltage = average_voltage(
        filled.energy_per_atom * len(full), empty.energy_per_atom * len(host), 3, metal_energy(3), ion_charge(3)
    )
    assert empty.converged and filled.converged
    assert 3.2 < voltage < 4.2
