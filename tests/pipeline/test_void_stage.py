"""Voids beside samples: shown where they are low, never first in a frozen host."""

import pytest
from example_hosts import MNO2, SPINEL

from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import inpaint

(BETA,) = read_hosts([MNO2 / "beta_mp-510408.cif"])


@pytest.fixture(scope="module")
def network():
    return load_network()


def test_a_void_that_no_sample_shows_is_listed_and_said(network):
    result = inpaint(network, BETA, {"Li": 1}, samples=4, steps=20)
    first, void = result.candidates[:2]
    assert first.wyckoff == ("4c",) and first.count == 4 and first.origin == "joint"
    assert void.wyckoff == ("4d",) and void.origin == "void" and void.count == 0 and void.agreement == 0
    # CHGNet in the frozen host; relaxed with the cell the order is the reverse.
    assert 1000 * 7 * (first.energy_per_atom - void.energy_per_atom) > 150
    assert any("candidate 1 is a void of the host that no sample shows" in note for note in result.notes)
    without = inpaint(network, BETA, {"Li": 1}, samples=4, steps=20, voids=0)
    assert [c.origin for c in without.candidates] == ["joint"] and not any("void" in note for note in without.notes)
    assert without.candidates[0].energy_per_atom == pytest.approx(first.energy_per_atom, abs=1e-6)


def test_relaxed_energies_rank_wherever_a_candidate_is_from(network):
    """In the frozen host the guests of both fall into one minimum."""
    result = inpaint(network, BETA, {"Li": 1}, samples=4, steps=20, relax="guests")
    assert [c.origin for c in result.candidates] == ["joint+void"] and result.candidates[0].count == 4
    assert not any("void" in note for note in result.notes)


def test_voids_that_samples_show_or_that_are_high_are_not_kept(network):
    """Lithium in spinel: 8a is a void that samples show, 16c lies 0.36 eV above it."""
    result = inpaint(network, SPINEL, {"Li": 1}, samples=4, steps=20)
    assert [c.wyckoff for c in result.candidates] == [("8a",)] and result.candidates[0].origin == "joint"
    assert result.evaluations > 1  # of voids
