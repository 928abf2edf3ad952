"""Slabs, layers and elements that nobody taught: one note, no confidence, and guests that have bonds."""

from types import SimpleNamespace

import numpy as np
import pytest
from example_hosts import MNO2, SPINEL

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.network.weights import list_weights, load_network
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.pipeline.known_limits import limit_notes
from inpaint_hpc.sampling.contact_distances import connected_guests
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.scoring.chgnet.elements import UNTAUGHT
from inpaint_hpc.scoring.chgnet.models import CHGNET_WEIGHTS, load_chgnet_model
from inpaint_hpc.sites.find_sites import find_sites
from inpaint_hpc.sites.pooling import PoolingSettings


def layer_in_vacuum(height=25.0):
    """One MnO2 layer in a cell of `height` A."""
    layered = read_hosts([MNO2 / "delta_mp-25223.cif"])[0]
    lattice = layered.lattice.copy()
    lattice[2] *= height / np.linalg.norm(lattice[2])
    around = (layered.frac_coords - np.round(layered.frac_coords)) @ layered.lattice
    return Crystal(layered.numbers, around @ np.linalg.inv(lattice), lattice, "layer")


def test_on_a_layer_in_vacuum_guests_have_bonds_and_no_confidence():
    network, layer = load_network(), layer_in_vacuum()
    result = inpaint(network, layer, {"Li": 1}, samples=8, steps=20, score=False)
    assert result.candidates and result.confidence is None
    places = np.array([candidate.guest_frac_coords for candidate in result.candidates])
    assert connected_guests(layer, [3], places).all()
    assert all(reason.startswith("no atom within") for reason in result.reasons)
    assert len([note for note in result.notes if "empty space" in note]) == 1
    sites = find_sites(
        network, layer, "Li", energies=0, settings=PoolingSettings(sampling=SamplingSettings(steps=10), max_rounds=2)
    )
    assert connected_guests(layer, [3], sites.frac_coords[:, None]).all()


def test_ordinary_hosts_get_no_note():
    assert not any(limit_notes(load_network(), host, [3], "0.3.0") for host in read_hosts([MNO2]))


def test_elements_without_training_data_get_one_note_and_no_confidence():
    network = load_network()
    result = inpaint(network, SPINEL, {"Ra": 1}, samples=4, steps=10)
    (note,) = [note for note in result.notes if "training data" in note]
    assert "Ra in that of the score network; Ra in that of CHGNet 0.3.0" in note and result.confidence is None
    # CHGNet's data has argon.
    (note,) = limit_notes(network, SPINEL, [18], "0.3.0")
    assert "Ar in that of the score network" in note and "CHGNet" not in note
    (note,) = limit_notes(network, SPINEL, [70], "r2scan")
    assert "Yb in that of CHGNet r2scan" in note
    assert limit_notes(network, SPINEL, [70], "0.3.0") == limit_notes(network, SPINEL, [70]) == []


def test_weights_that_do_not_say_get_no_note():
    silent = SimpleNamespace(info=SimpleNamespace(card={}))
    assert limit_notes(silent, SPINEL, [88]) == limit_notes(object(), SPINEL, [88]) == []


def test_every_card_lists_its_elements():
    for info in list_weights():
        assert len(info.card["elements"]) == 87
        assert not {"Ne", "Ar", "Po", "At", "Rn", "Fr", "Ra"} & set(info.card["elements"])


def test_the_table_of_chgnet_is_that_of_its_reference_energies():
    assert set(UNTAUGHT) == set(CHGNET_WEIGHTS)
    energies = load_chgnet_model("r2scan").composition_model.fc.weight[0]
    assert {z for z in range(1, 95) if abs(float(energies[z - 1])) < 1e-6} == UNTAUGHT["r2scan"]


@pytest.mark.parametrize("height", [6.0, 25.0])
def test_a_layer_is_in_vacuum_only_in_a_tall_cell(height):
    assert len(limit_notes(load_network(), layer_in_vacuum(height), [3])) == (height > 20.0)
