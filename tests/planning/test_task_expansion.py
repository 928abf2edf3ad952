"""Hosts x guests: which tasks come out, and which are left out."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_hosts import random_crystal

from inpaint_hpc.campaign.config import GuestCase, Supercell
from inpaint_hpc.campaign.cost import CostModel
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.inpaint import PipelineSettings
from inpaint_hpc.planning.host_sources import Excluded
from inpaint_hpc.planning.host_table import HostTable
from inpaint_hpc.planning.task_expansion import expand, supercells
from inpaint_hpc.sampling.contact_distances import require_room
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.strategies import STRATEGY_CLASSES
from inpaint_hpc.sampling.tasks import Task


def hosts(count=20, seed=0, **keywords):
    rng = np.random.default_rng(seed)
    return [random_crystal(rng, name=f"h{k}", **keywords) for k in range(count)]


def tasks(crystals, case, excluded=None, samples=16):
    """(name, guests, samples) of all tasks."""
    blocks = expand(HostTable.from_crystals(crystals), GuestCase.model_validate(case), samples, excluded or Excluded())
    return [(b.hosts.names[row], b.guests, b.samples) for b in blocks for row in b.rows]


ROOMY = Crystal([25, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], 9 * np.eye(3), "roomy", {"n": 2, "z": "Mg", "m": 0})
OTHER = replace(ROOMY, name="other", info={"n": 3, "z": 3, "m": 1}, lattice=8 * np.eye(3))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"Li": 1}, [(3,)]),
        ({"Li": "1..3"}, [(3,), (3, 3), (3, 3, 3)]),
        ({"Li": [0, 2]}, [(3, 3)]),
        ({"Na": 1, "Li": "1..2"}, [(3, 11), (3, 3, 11)]),
        ({"Na": "0..1", "Li": "0..1"}, [(3,), (11,), (3, 11)]),
        ({"Li": {"column": "n"}, "Na": 1}, [(3, 3, 11)]),
        ({"from_columns": {"species": "z", "count": "n"}}, [(12, 12)]),
    ],
)
def test_guests_of_one_host(case, expected):
    assert [guests for _, guests, _ in tasks([ROOMY], case)] == expected


def test_each_host_has_its_own_column():
    assert tasks([ROOMY, OTHER], {"Li": {"column": "n"}}) == [("roomy", (3, 3), 16), ("other", (3, 3, 3), 16)]
    excluded = Excluded()
    found = tasks([ROOMY, OTHER], {"from_columns": {"species": "z", "count": "m"}}, excluded)
    assert found == [("other", (3,), 16)]
    assert excluded.counts == {"hosts with 0 guests in their column": 1}


def test_samples_of_a_case():
    assert tasks([ROOMY], {"Li": 1, "samples": 5}) == [("roomy", (3,), 5)]


def test_removed_atoms_come_back_as_references():
    crystals = hosts(30, numbers=(3, 8, 25))
    crystals += [Crystal([3, 3], [[0, 0, 0], [0.5, 0.5, 0.5]], 4 * np.eye(3), "metal")]
    excluded = Excluded()
    table = HostTable.from_crystals(crystals)
    by_name = {crystal.name: crystal for crystal in crystals}
    found = 0
    for block in expand(table, GuestCase(remove=["Li"]), 4, excluded):
        for k, row in enumerate(block.rows):
            full, empty = by_name[block.hosts.names[row]], block.hosts[int(row)]
            assert np.array_equal(empty.frac_coords, full.without(3).frac_coords)
            assert block.guests == (3,) * int((full.numbers == 3).sum())
            assert np.array_equal(block.references[k], full.frac_coords[full.numbers == 3])
            found += 1
    without = sum(3 not in crystal.numbers for crystal in crystals)
    assert excluded.counts["hosts without Li to remove"] == without
    alone = sum(set(crystal.numbers) == {3} for crystal in crystals)
    assert excluded.counts["hosts of nothing but Li"] == alone > 0
    assert found == len(crystals) - without - alone - excluded.counts["no room for the guests"] > 10


def test_the_last_atoms_come_back_as_references_and_others_stay():
    inside = Crystal([3, 25, 3, 3], np.arange(12).reshape(4, 3) / 12, 9 * np.eye(3), "inside", {"z": "Li", "n": 2})
    one = replace(inside, name="one", info={"z": "Li", "n": 1})
    none, everything = (replace(inside, name=f"n{n}", info={"z": "Li", "n": n}) for n in (0, 4))
    case, excluded = GuestCase.model_validate({"remove_last": {"species": "z", "count": "n"}}), Excluded()
    table = HostTable.from_crystals([inside, one, none, everything])
    blocks = list(expand(table, case, 4, excluded))
    assert [(b.hosts.names, b.guests) for b in blocks] == [(["one"], (3,)), (["inside"], (3, 3))]
    for block, full in zip(blocks, (one, inside), strict=True):
        empty = block.hosts[int(block.rows[0])]
        assert np.array_equal(np.concatenate([empty.frac_coords, block.references[0]]), full.frac_coords)
        assert empty.numbers.tolist() == full.numbers.tolist()[: len(empty)]
    reasons = {"hosts with 0 guests in their column": 1, "hosts of nothing but their guests": 1}
    assert excluded.counts == reasons
    with pytest.raises(InputError, match="other: its last 3 atoms are not the guests"):
        list(expand(HostTable.from_crystals([replace(one, name="other", info={"z": "Li", "n": 3})]), case, 4, excluded))
    with pytest.raises(ValueError, match="needs the host's own cell"):
        GuestCase.model_validate({"remove_last": {"species": "z", "count": "n"}, "supercell": 2})


def test_exactly_what_the_pipeline_would_refuse_is_left_out():
    rng = np.random.default_rng(3)
    crystals = []
    for crystal in hosts(60, seed=4):
        scale = np.diag(rng.choice([0.35, 0.7, 1.0], size=3))
        crystals.append(replace(crystal, lattice=scale @ crystal.lattice))
    for case, guests in (({"Cs": 1}, [55]), ({"Li": 6}, [3] * 6), ({"K": 2, "Mg": 1}, [12, 19, 19])):
        excluded = Excluded()
        found = {name for name, _, _ in tasks(crystals, case, excluded)}
        fits = set()
        for crystal in crystals:
            try:
                require_room(crystal, np.array(guests))
            except InputError:
                continue
            fits.add(crystal.name)
        assert found == fits
        assert 0 < len(fits) < len(crystals)
        assert sum(excluded.counts.values()) == len(crystals) - len(fits)
        assert any("can hold" in text or "periodic image" in text for text in excluded.examples.values())


def test_supercells_hold_the_same_crystal():
    crystals = hosts(5)
    found = supercells(HostTable.from_crystals(crystals), Supercell.model_validate([2, 1, 3]))
    for row, crystal in enumerate(crystals):
        expected = crystal.to_atoms().repeat((2, 1, 3))
        big = found[row]
        assert big.name == f"{crystal.name}_2x1x3"
        assert np.allclose(big.lattice, expected.cell.array)
        assert np.array_equal(big.numbers, expected.numbers)
        assert np.allclose(big.positions, expected.positions)


def test_supercells_are_as_wide_as_asked_for_and_no_wider():
    crystals = [*hosts(10), ROOMY]
    table = HostTable.from_crystals(crystals)
    found = supercells(table, Supercell(min_width=8.0))
    assert (found.widths >= 8.0 - 1e-2).all()
    assert ((found.widths < 16.0 + 1e-9) | (found.widths == table.widths)).all()
    assert found.names[-1] == "roomy"  # wide enough as it is, and so the same bits
    assert np.array_equal(found[10].frac_coords, ROOMY.frac_coords)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"Li": {"column": "nn"}}, "roomy: no column 'nn'; did you mean 'n'?"),
        ({"Li": {"column": "z"}}, "roomy: its column 'z' holds 'Mg', which is not a number of guests"),
        ({"from_columns": {"species": "n", "count": "z"}}, "its column 'z' holds 'Mg'"),
        ({"from_columns": {"species": "m", "count": "n"}}, "roomy: its column 'm': unknown element 0"),
        ({"Li": 1, "supercell": 20}, "a 20x20x20 supercell has 16000 atoms (at most 5000)"),
    ],
)
def test_cases_that_do_not_fit_their_hosts(case, message):
    with pytest.raises(InputError) as error:
        tasks([ROOMY], case)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("strategy", ["conditional", "replacement"])
def test_estimated_edges_are_those_of_the_sampler(strategy):
    model = CostModel(SamplingSettings(strategy=strategy), PipelineSettings(), 5.0, 6.0)
    for crystal in [*hosts(5), ROOMY]:
        for n in (1, 3):
            host, sample = model.edges([len(crystal)], n, [crystal.volume])
            expected = STRATEGY_CLASSES[strategy].edges(Task(crystal, {"Li": n}), 5.0, 6.0)
            assert (host[0], sample[0]) == pytest.approx(expected)


def test_cost_grows_with_samples_steps_and_scoring():
    def cost(samples=8, steps=40, score=True, **relaxation):
        model = CostModel(SamplingSettings(steps=steps), PipelineSettings(score=score, **relaxation))
        return model.costs(np.array([12]), 2, np.array([150.0]), samples)[0]

    assert cost(samples=16, evaluations=0) == pytest.approx(2 * cost(evaluations=0), rel=0.01)
    assert cost(evaluations=0) < cost(evaluations=16) < cost() < cost(evaluations=200)
    assert cost(steps=80) > 1.3 * cost()
    assert cost(score=False) < cost()
    assert cost() < cost(relax="guests", top_k=1) < cost(relax="guests", top_k=3) < cost(relax="guests")
    assert cost(relax="guests", top_k=1) < cost(relax="guests", top_k=1, stage_steps=15)
    assert cost(relax="guests", top_k=100) == cost(relax="guests") < cost(relax="cell")
