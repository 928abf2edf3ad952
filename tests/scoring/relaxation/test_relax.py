"""Batched relaxation: chgnet's StructOptimizer as oracle, and structures that must not take their batch with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms
from real_crystals import ROCK_SALT, SODIUM, intercalated, smoke

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.chgnet.models import load_chgnet_model, quiet
from inpaint_hpc.scoring.chgnet.network import ChgnetNetwork
from inpaint_hpc.scoring.relaxation.fire import FireSettings
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax


def native_relaxation(crystal, n_guests, mode, fmax, steps):
    """Energy per atom and positions by chgnet's StructOptimizer, and how many steps it took."""
    from chgnet.model.dynamics import StructOptimizer

    atoms = crystal.to_atoms()
    if mode == "guests":
        atoms.set_constraint(FixAtoms(np.arange(len(crystal) - n_guests)))
    with quiet():
        optimizer = StructOptimizer(model=load_chgnet_model(), use_device="cpu")
        relax_cell = mode == "cell"
        result = optimizer.relax(atoms, fmax=fmax, steps=steps, relax_cell=relax_cell, verbose=False)["trajectory"]
    # The start and every step are observed, and the end once more.
    return result.energies[-1] / len(crystal), result.atom_positions[-1], len(result) - 2


@pytest.mark.parametrize("mode", ["guests", "positions", "cell"])
def test_the_same_minima_as_chgnet_in_as_many_steps(mode):
    crystals, counts = intercalated(3, 0.15, seed=1, everything=mode != "guests", max_atoms=8)
    results = relax(crystals, counts, RelaxSettings(mode, 0.1, 80, displacement=0.0))
    for crystal, count, result in zip(crystals, counts, results, strict=True):
        energy, positions, steps = native_relaxation(crystal, count, mode, 0.1, 80)
        assert result.converged and not result.diverged
        assert abs(result.energy_per_atom - energy) < 1e-4
        assert abs(result.steps - steps) <= 1
        np.testing.assert_allclose(result.crystal.positions, positions, atol=0.02)
    assert max(result.steps for result in results) > 5


@pytest.mark.slow
def test_the_same_minima_as_chgnet_for_50_structures():
    crystals, counts = intercalated(50, 0.15, seed=2, everything=True)
    results = relax(crystals, counts, RelaxSettings("cell", 0.05, 300, displacement=0.0))
    energies = [native_relaxation(c, n, "cell", 0.05, 300)[0] for c, n in zip(crystals, counts, strict=True)]
    apart = np.abs([r.energy_per_atom - e for r, e in zip(results, energies, strict=True)])
    assert (apart < 2e-3).mean() >= 0.95


@pytest.fixture(scope="module")
def guests_relaxed():
    crystals, counts = intercalated(6, 0.15)
    return crystals, counts, relax(crystals, counts, RelaxSettings(fmax=0.05))


def test_a_frozen_host_keeps_its_bits(guests_relaxed):
    crystals, counts, results = guests_relaxed
    for crystal, count, result in zip(crystals, counts, results, strict=True):
        hosts = len(crystal) - count
        assert np.array_equal(result.crystal.lattice, crystal.lattice) and result.crystal.name == crystal.name
        assert np.array_equal(result.crystal.frac_coords[:hosts], crystal.frac_coords[:hosts])
        assert not np.array_equal(result.crystal.frac_coords[hosts:], crystal.frac_coords[hosts:])
        forces = np.linalg.norm(result.forces, axis=1)
        assert forces[hosts:].max() < 0.05 and result.max_force == pytest.approx(forces.max())


def test_what_is_reported_is_what_the_crystal_has(guests_relaxed):
    crystals, _, results = guests_relaxed
    before, after = evaluate(crystals), evaluate([r.crystal for r in results])
    for k, result in enumerate(results):
        assert result.energy_per_atom == pytest.approx(float(after.energy_per_atom[k]), abs=2e-6)
        assert result.energy_per_atom_before == pytest.approx(float(before.energy_per_atom[k]), abs=2e-6)
        np.testing.assert_allclose(result.forces, after.forces[after.atoms(k)], atol=1e-4)
        np.testing.assert_allclose(result.stress, after.stress[k], atol=1e-3)
        assert result.reason == f"converged in {result.steps} steps"


def test_it_stops_at_the_first_step_below_the_threshold(guests_relaxed):
    """Cut off a step earlier the guests' forces are still above it: no step is wasted, none is left out."""
    crystals, counts, results = guests_relaxed
    for crystal, count, result in zip(crystals, counts, results, strict=True):
        (earlier,) = relax([crystal], count, RelaxSettings(fmax=0.05, max_steps=result.steps - 1))
        assert not earlier.converged and earlier.steps == result.steps - 1
        assert np.linalg.norm(earlier.forces[-count:], axis=1).max() >= 0.05


@pytest.mark.parametrize("mode", ["guests", "cell"])
def test_leaving_and_entering_the_batch_changes_nothing(mode):
    crystals, counts = intercalated(6, 0.15, seed=3, max_atoms=8)
    finished = []
    together = relax(crystals, counts, RelaxSettings(mode, 0.1, 60), row_budget=10**9)
    alone = relax(crystals, counts, RelaxSettings(mode, 0.1, 60), row_budget=1, progress=finished.append)
    some = relax(crystals, counts, RelaxSettings(mode, 0.1, 60), row_budget=2000)
    assert finished == [1] * 6
    assert len({r.steps for r in together}) > 2  # they do leave at different times
    for a, b, c in zip(together, alone, some, strict=True):
        assert a.steps == b.steps == c.steps and a.reason == b.reason == c.reason
        assert a.energy_per_atom == pytest.approx(b.energy_per_atom, abs=1e-5)
        np.testing.assert_allclose(a.crystal.positions, b.crystal.positions, atol=1e-3)
        np.testing.assert_allclose(a.crystal.positions, c.crystal.positions, atol=1e-3)


def test_positions_mode_moves_all_atoms_in_the_given_cell():
    crystals, _ = intercalated(2, 0.1, seed=4, everything=True)
    for crystal, result in zip(crystals, relax(crystals, settings=RelaxSettings("positions", fmax=0.1)), strict=True):
        assert np.array_equal(result.crystal.lattice, crystal.lattice) and result.converged
        assert result.max_force < 0.1
        moved = np.linalg.norm(result.crystal.positions - crystal.positions, axis=1)
        assert (moved > 1e-3).all()


def test_a_cell_relaxes_to_low_stress():
    squeezed = replace(smoke()[40], lattice=smoke()[40].lattice * 0.97)
    loose, tight = (relax([squeezed], settings=RelaxSettings("cell", fmax=0.05, max_stress=s))[0] for s in (None, 0.05))
    assert np.abs(evaluate([squeezed]).stress.numpy()).max() > 2.0
    assert tight.converged and np.abs(tight.stress).max() < 0.05
    assert tight.steps > loose.steps and tight.crystal.volume > 1.03 * squeezed.volume
    assert np.abs(loose.stress).max() > 0.05


def test_steps_run_out():
    crystals, counts = intercalated(2, 0.3, seed=5)
    for crystal, result in zip(crystals, relax(crystals, counts, RelaxSettings(fmax=1e-4, max_steps=3)), strict=True):
        assert (result.converged, result.diverged, result.steps) == (False, False, 3)
        assert result.reason.startswith("not converged in 3 steps: largest force")
        assert result.energy_per_atom < result.energy_per_atom_before
        assert not np.array_equal(result.crystal.frac_coords, crystal.frac_coords)
    at_once = relax(crystals, counts, RelaxSettings(max_steps=0))[0]
    assert at_once.steps == 0 and at_once.crystal is crystals[0]
    assert at_once.energy_per_atom == at_once.energy_per_atom_before


def test_one_that_is_at_its_minimum_takes_no_step():
    result = relax([SODIUM], settings=RelaxSettings("positions"))[0]
    assert (result.converged, result.steps) == (True, 0) and result.crystal is SODIUM


HOPELESS = {
    "two atoms are 0.00 A apart": ROCK_SALT.with_guests([3], [[0.0, 0.0, 1.0]]),
    "not a finite number": ROCK_SALT.with_guests([3], [[np.nan, 0.0, 0.0]]),
    "isolated atom of Li": Crystal([3], [[0, 0, 0]], np.eye(3) * 20.0),
}


def test_hopeless_structures_are_reported_and_leave_the_others_alone():
    crystals, counts = intercalated(3, 0.15)
    alone = relax(crystals, counts, RelaxSettings(fmax=0.1))
    mixed = [c for pair in zip(HOPELESS.values(), crystals, strict=True) for c in pair]
    results = relax(mixed, [n for count in counts for n in (1, count)], RelaxSettings(fmax=0.1))
    for bad, message, given in zip(results[::2], HOPELESS, HOPELESS.values(), strict=True):
        assert bad.diverged and not bad.converged and message in bad.reason and "\n" not in bad.reason
        assert bad.crystal is given and np.isnan(bad.energy_per_atom) and np.isnan(bad.energy_per_atom_before)
        assert np.isnan(bad.forces).all() and bad.forces.shape == (len(given), 3)
    for good, expected in zip(results[1::2], alone, strict=True):
        assert good.converged and good.steps == expected.steps
        assert good.energy_per_atom == pytest.approx(expected.energy_per_atom, abs=1e-5)


def test_atoms_that_run_into_each_other_are_caught():
    """Steps of many A throw atoms about until two of them meet."""
    wild = FireSettings(dt=1.0, dt_max=50.0, max_step=3.0, f_dec=1.0)
    crystals, _ = intercalated(6, 0.4, seed=6, everything=True)
    results = relax(crystals, settings=RelaxSettings("positions", fire=wild, fmax=1e-3, max_steps=200))
    met = [r for r in results if "apart, less than 0.5 A" in r.reason]
    assert met
    for result in met:
        assert result.diverged and 0 < result.steps < 200
        # What is handed out is the last sound structure, with what was computed for it.
        again = evaluate([result.crystal])
        assert again.errors == ("",)
        assert result.energy_per_atom == pytest.approx(float(again.energy_per_atom[0]), abs=1e-4)


def test_energies_that_never_come_down_again_are_caught():
    """A first step far uphill that is never undone, because later ones are next to nothing."""
    stuck = FireSettings(dt=2.0, dt_max=2.0, max_step=1.0, f_dec=1e-4)
    crystals, _ = intercalated(4, 0.12, seed=1, everything=True)
    result = relax(crystals[:1], settings=RelaxSettings("positions", fire=stuck, max_steps=300))[0]
    assert result.diverged and not result.converged and "above the lowest it had" in result.reason
    assert 50 <= result.steps < 60
    assert result.energy_per_atom > result.energy_per_atom_before + 0.05


def test_a_cell_that_leaves_its_volume_is_caught():
    stretched = replace(ROCK_SALT, lattice=ROCK_SALT.lattice * 1.65)
    result = relax([stretched, ROCK_SALT], settings=RelaxSettings("cell", 0.02, 200))
    assert result[0].diverged and "times the volume it had" in result[0].reason
    assert 0.2 < result[0].crystal.volume / stretched.volume < 0.35
    assert result[1].converged


class BreakingBelow(ChgnetNetwork):
    """A network whose energies are NaN for crystals with a bond shorter than 2.4 A."""

    def __call__(self, graph):
        energies, magmoms = super().__call__(graph)
        return torch.where(graph.shortest_bonds() < 2.4, torch.nan, energies), magmoms


def test_nan_on_the_way_is_caught():
    stretched = replace(ROCK_SALT, lattice=ROCK_SALT.lattice * 1.2)
    results = relax(
        [stretched, SODIUM], settings=RelaxSettings("cell", max_steps=100), model=BreakingBelow(load_chgnet_model())
    )
    assert results[0].diverged and "not a finite number" in results[0].reason and results[0].steps > 1
    spacing = results[0].crystal.volume ** (1 / 3) / 2 ** (1 / 3)
    assert 2.4 <= spacing < 2.5 and results[0].energy_per_atom < results[0].energy_per_atom_before
    assert results[1].converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "atoms"}, "choose one of guests, positions, cell"),
        ({"n_guests": [1]}, "2 crystals but 1 numbers of guests"),
        ({"n_guests": 0}, "needs at least one"),
        ({"n_guests": 9}, "9 guests among 2 atoms"),
        ({"n_guests": 1, "fmax": 0.0}, "must be positive"),
        ({"n_guests": 1, "max_steps": -1}, "must not be negative"),
        ({"mode": "cell", "max_stress": -1.0}, "must be positive"),
        ({"mode": "cell", "displacement": -0.1}, "from 0 to 0.5 A"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        relax([ROCK_SALT, SODIUM], options.pop("n_guests", 0), RelaxSettings(**options))
    assert "\n" not in str(caught.value)


def test_nothing_to_relax():
    assert relax([]) == []
