"""Batched evaluation against chgnet's `predict_structure`, against derivatives, and with bad crystals in the batch."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from real_crystals import DIMERS, ROCK_SALT, SODIUM, intercalated, native, small_model, smoke

from inpaint_hpc.crystals.batch import Crystal, Crystals
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import EV_PER_A3_IN_GPA, BatchEvaluator, crystals_batch, evaluate, pack_rows, take
from inpaint_hpc.scoring.chgnet.models import CHGNET_WEIGHTS, load_chgnet_model, load_chgnet_network, quiet
from inpaint_hpc.scoring.chgnet.network import ChgnetNetwork


def assert_equal_to_chgnet(crystals, weights="0.3.0"):
    result = evaluate(crystals, weights)
    assert not any(result.errors)
    for k, crystal in enumerate(crystals):
        expected, atoms = native(crystal, weights), result.atoms(k)
        assert abs(result.energy_per_atom[k] - float(expected["e"])) < 1e-5, crystal
        assert np.abs(result.forces[atoms].numpy() - expected["f"]).max() < 1e-3, crystal
        assert np.abs(result.stress[k].numpy() - expected["s"]).max() < 1e-2, crystal
        assert np.abs(result.magmoms[atoms].numpy() - expected["m"]).max() < 1e-4, crystal


def test_equal_to_chgnet_on_real_structures():
    assert_equal_to_chgnet(smoke()[::5])


@pytest.mark.slow
@pytest.mark.parametrize("weights", CHGNET_WEIGHTS)
def test_equal_to_chgnet_on_220_real_structures(weights):
    crystals = smoke()
    assert len(crystals) == 220
    if weights == "0.2.0":
        # Its angles of exactly 180 degrees cost chgnet 1.2e-5 eV per atom in float32; in float64 it agrees with us.
        (odd,) = (crystal for crystal in crystals if crystal.name == "mp-976229")
        crystals = [crystal for crystal in crystals if crystal is not odd]
        double = evaluate([odd], ChgnetNetwork(load_chgnet_model(weights), dtype=torch.float64), what="e")
        single = evaluate([odd], weights, what="e")
        assert abs(single.energy_per_atom[0] - double.energy_per_atom[0]) < 1e-6
        assert abs(float(native(odd, weights)["e"]) - double.energy_per_atom[0]) > 1e-5
    assert_equal_to_chgnet(crystals, weights)


def test_equal_to_chgnet_far_from_equilibrium():
    crystals, _ = intercalated(12, 0.25, everything=True)
    result = evaluate(crystals)
    for k, crystal in enumerate(crystals):
        expected, atoms = native(crystal), result.atoms(k)
        scale = np.abs(expected["f"]).max()
        assert scale > 1.0
        assert abs(result.energy_per_atom[k] - float(expected["e"])) < 1e-5
        assert np.abs(result.forces[atoms].numpy() - expected["f"]).max() < 1e-3
        assert np.abs(result.stress[k].numpy() - expected["s"]).max() < 1e-2


@pytest.mark.parametrize("weights", CHGNET_WEIGHTS)
def test_every_weight_set_also_without_angles(weights):
    """chgnet skips its bond layers for a crystal without angles; beside one with angles that must not change."""
    # Angles of exactly 180 degrees cost chgnet itself 1e-5 eV per atom, in float32.
    bent = ROCK_SALT.without(8).with_guests([8], [[0.51, 0.48, 0.5]])
    crystals = [SODIUM, *smoke()[3::40], DIMERS, bent]
    if weights == "0.2.0":  # its cutoff is 5 A, and bcc sodium shall have neighbours and no bond within 3 A
        assert load_chgnet_network(weights).atom_cutoff == 5.0
    assert_equal_to_chgnet(crystals, weights)
    assert_equal_to_chgnet([SODIUM, DIMERS], weights)


def test_a_model_of_ones_own():
    model = small_model()
    crystals = [*smoke()[::30], SODIUM]
    result = evaluate(crystals, model)
    for k, crystal in enumerate(crystals):
        with quiet():
            expected = model.predict_structure(crystal.to_structure())
        assert abs(result.energy_per_atom[k] - float(expected["e"])) < 1e-5
        assert np.abs(result.forces[result.atoms(k)].numpy() - expected["f"]).max() < 1e-4
        assert np.abs(result.magmoms[result.atoms(k)].numpy() - expected["m"]).max() < 1e-5
    assert all(parameter.requires_grad for parameter in model.mlp.parameters())  # a copy was frozen, not the model


@pytest.mark.parametrize(
    "options", [{"mlp_first": False}, {"non_linearity": "gelu"}, {"gMLP_norm": "batch"}, {"n_conv": 1}]
)
def test_an_unknown_architecture_is_refused(options):
    with pytest.raises(InputError, match="architecture"):
        load_chgnet_network(small_model(**options))


def test_a_network_stays_on_its_device():
    network = load_chgnet_network("0.3.0")
    assert load_chgnet_network(network) is network and load_chgnet_network(network, "cpu:0") is network
    assert load_chgnet_network("0.3.0", "cpu") is network  # loaded once
    with pytest.raises(InputError, match="is on cpu, not on meta"):
        load_chgnet_network(network, "meta")


def test_forces_and_stress_are_the_derivatives_of_the_energy():
    network = ChgnetNetwork(load_chgnet_model(), dtype=torch.float64)
    crystal = intercalated(3, 0.2, everything=True)[0][2]
    result = evaluate([crystal], network)
    rng = np.random.default_rng(0)
    step = 1e-5
    shift = rng.normal(size=(len(crystal), 3))
    moved = [
        Crystal(crystal.numbers, (crystal.positions + s * shift) @ np.linalg.inv(crystal.lattice), crystal.lattice)
        for s in (-step, step)
    ]
    strain = rng.normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    strained = [replace(crystal, lattice=crystal.lattice @ (np.eye(3) + s * strain)) for s in (-step, step)]
    energies = evaluate([*moved, *strained], network, what="e").energies
    along = float((energies[1] - energies[0]) / (2 * step))
    assert along == pytest.approx(-float((result.forces.numpy() * shift).sum()), abs=1e-5)
    virial = float((energies[3] - energies[2]) / (2 * step))
    stress = result.stress[0].numpy() / EV_PER_A3_IN_GPA
    assert virial == pytest.approx(float((stress * strain).sum()) * crystal.volume, abs=1e-4)
    assert abs(along) > 0.1 and abs(virial) > 0.1


def test_float32_is_enough():
    crystals = smoke()[::20]
    single, double = evaluate(crystals), evaluate(crystals, ChgnetNetwork(load_chgnet_model(), dtype=torch.float64))
    assert (single.energy_per_atom - double.energy_per_atom).abs().max() < 5e-6
    assert (single.forces - double.forces).abs().max() < 1e-4
    assert (single.stress - double.stress).abs().max() < 1e-3


def test_batches_and_order_do_not_matter():
    crystals = smoke()[::15]
    together, alone = evaluate(crystals, row_budget=10**9), evaluate(crystals, row_budget=1)
    torch.testing.assert_close(together.energy_per_atom, alone.energy_per_atom, atol=2e-6, rtol=0)
    torch.testing.assert_close(together.forces, alone.forces, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.stress, alone.stress, atol=1e-4, rtol=0)
    torch.testing.assert_close(together.magmoms, alone.magmoms, atol=1e-5, rtol=0)
    assert torch.equal(together.rows, alone.rows) and together.rows.min() > 0
    backwards = evaluate(crystals[::-1])
    torch.testing.assert_close(backwards.energy_per_atom.flip(0), together.energy_per_atom, atol=2e-6, rtol=0)


COINCIDENT = ROCK_SALT.with_guests([3], [[0.0, 0.0, 1.0]])
BAD = {
    "two atoms are 0.00 A apart": COINCIDENT,
    "not a finite number": ROCK_SALT.with_guests([3], [[np.nan, 0.1, 0.1]]),
    "does not know Cf": ROCK_SALT.with_guests([98], [[0.25, 0.25, 0.25]]),
    "atomic number 0": ROCK_SALT.with_guests([0], [[0.25, 0.25, 0.25]]),
    "no atoms": Crystal([], np.zeros((0, 3)), np.eye(3)),
    "collapsed": replace(ROCK_SALT, lattice=ROCK_SALT.lattice * 0.01),
    "0.00 A apart, less": Crystal([3], [[0, 0, 0]], np.diag([1e-3, 1e2, 1e3])),
    "degenerate": Crystal([3], [[0, 0, 0]], np.diag([1e-5, 1e3, 1e4])),
    "isolated atom of Li": Crystal([3], [[0, 0, 0]], np.eye(3) * 20.0),
    "cell vector is not a finite": replace(ROCK_SALT, lattice=np.full((3, 3), np.inf)),
}


def test_bad_crystals_fail_alone():
    good = [*smoke()[::60], ROCK_SALT]
    mixed, counted = [], []
    for k, bad in enumerate(BAD.values()):
        mixed += [bad, good[k % len(good)]]
    result = evaluate(mixed, progress=counted.append)
    alone = evaluate(good)
    assert sum(counted) == len(mixed)
    for k, message in enumerate(BAD):
        assert message in result.errors[2 * k] and "\n" not in result.errors[2 * k]
        assert torch.isnan(result.energy_per_atom[2 * k]) and torch.isnan(result.stress[2 * k]).all()
        assert torch.isnan(result.forces[result.atoms(2 * k)]).all()
        same = k % len(good)
        assert result.errors[2 * k + 1] == ""
        assert result.energy_per_atom[2 * k + 1] == pytest.approx(float(alone.energy_per_atom[same]), abs=2e-6)
        forces = result.forces[result.atoms(2 * k + 1)]
        torch.testing.assert_close(forces, alone.forces[alone.atoms(same)], atol=1e-5, rtol=0)


def test_a_result_that_is_not_finite_fails_alone():
    """A model that has never seen an element may answer with NaN."""
    broken = copy.deepcopy(load_chgnet_model())
    broken.atom_embedding.embedding.weight[3 - 1] = torch.nan
    lithiated = ROCK_SALT.with_guests([3], [[0.25, 0.25, 0.25]])
    result = evaluate([ROCK_SALT, lithiated, SODIUM], broken)
    healthy = evaluate([ROCK_SALT, SODIUM])
    assert [bool(error) for error in result.errors] == [False, True, False]
    assert "not a finite number" in result.errors[1] and torch.isnan(result.forces[result.atoms(1)]).all()
    torch.testing.assert_close(result.energy_per_atom[[0, 2]], healthy.energy_per_atom, atol=2e-6, rtol=0)
    torch.testing.assert_close(result.forces[result.atoms(0)], healthy.forces[:2], atol=1e-5, rtol=0)


class LimitedMemory(ChgnetNetwork):
    """A network on a device that holds so many directed edges and angles at once."""

    limit = 0

    def __call__(self, graph):
        rows = 2 * graph.n_bonds + graph.n_angles
        if rows > self.limit:
            torch.empty(2**60)
        return super().__call__(graph)


def test_out_of_memory_halves_the_batch_and_is_remembered():
    crystals = sorted(smoke()[::10], key=len)
    expected = evaluate(crystals)
    network = LimitedMemory(load_chgnet_model())
    network.limit = int(expected.rows.sort().values[-3])  # two crystals do not fit even alone
    evaluator = BatchEvaluator(network, row_budget=10**9)
    result = evaluator(crystals)
    fits = expected.rows <= network.limit
    assert [not error for error in result.errors] == fits.tolist() and int(fits.sum()) == len(crystals) - 2
    assert all("not enough memory" in error for error in result.errors if error)
    torch.testing.assert_close(result.energy_per_atom[fits], expected.energy_per_atom[fits], atol=2e-6, rtol=0)
    assert evaluator.row_budget < expected.rows.sum()
    budget = evaluator.row_budget
    evaluator([c for c, fit in zip(crystals, fits, strict=True) if fit])
    assert evaluator.row_budget > budget / 3  # most of it fits at once now


def test_only_what_is_asked_for():
    crystals = [ROCK_SALT, SODIUM]
    everything = evaluate(crystals)
    energy = evaluate(crystals, what="e")
    assert energy.forces is None and energy.stress is None and energy.magmoms is None
    torch.testing.assert_close(energy.energy_per_atom, everything.energy_per_atom)
    some = evaluate(crystals, what="em")
    assert some.forces is None and torch.equal(some.magmoms, everything.magmoms)
    assert evaluate(crystals, what="s").stress.shape == (2, 3, 3)
    np.testing.assert_allclose(everything.energies, everything.energy_per_atom * 2)


def test_a_batch_of_tensors_is_as_good_as_a_list():
    crystals = smoke()[::50]
    batch = crystals_batch(crystals)
    torch.testing.assert_close(evaluate(batch).forces, evaluate(crystals).forces)
    rows = [3, 0]
    part = take(batch, rows)
    assert part.counts.tolist() == [len(crystals[r]) for r in rows]
    np.testing.assert_allclose(part.positions, np.concatenate([crystals[r].positions for r in rows]))
    single = Crystals.from_list(crystals)
    torch.testing.assert_close(evaluate(single).energy_per_atom, evaluate(batch).energy_per_atom, atol=1e-5, rtol=0)


def test_nothing_to_evaluate():
    result = evaluate([])
    assert len(result) == 0 and result.errors == () and result.forces.shape == (0, 3)


def test_packing_keeps_to_the_budget():
    rows = np.array([5.0, 1, 9, 3, 30, 2])
    batches = pack_rows(range(6), rows, 10)
    assert sorted(itertools.chain(*batches)) == list(range(6))
    assert all(rows[batch].sum() <= 10 for batch in batches if len(batch) > 1) and [4] in batches


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "0.9"}, "choose one of 0.3.0, 0.2.0, r2scan"),
        ({"what": "ex"}, "'e', 'f', 's' and 'm'"),
        ({"row_budget": 0}, "at least 1"),
        ({"device": "nonsense"}, "cannot be used"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        evaluate([ROCK_SALT], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    crystals = smoke()[::10]
    cpu, gpu = evaluate(crystals), evaluate(crystals, device="cuda")
    torch.testing.assert_close(gpu.energy_per_atom, cpu.energy_per_atom, atol=1e-5, rtol=0)
    torch.testing.assert_close(gpu.forces, cpu.forces, atol=1e-3, rtol=0)
    torch.testing.assert_close(gpu.stress, cpu.stress, atol=1e-2, rtol=0)
