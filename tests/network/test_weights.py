"""Weights with cards: what is saved is what is loaded, and damage is named in one line."""

import json

import pytest
import torch
from tiny_network import SIZES

from inpaint_hpc.errors import InputError
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.network.weights import find_weights, list_weights, load_network, save_weights


@pytest.fixture
def saved(tmp_path):
    network = ScoreNetwork(NetworkConfig(**SIZES))
    info = save_weights(network.state_dict(), tmp_path / "tiny.safetensors", {"network": network.to_dict()})
    return network, info


def test_round_trip(saved):
    network, info = saved
    loaded = load_network(info.path)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))
    assert not any(p.requires_grad for p in loaded.parameters())
    assert loaded.info.verify() and loaded.info.name == "tiny"
    assert [w.name for w in list_weights(info.path.parent)] == ["tiny"]


def test_not_a_number_is_refused(saved):
    network, info = saved
    state = network.state_dict()
    state["readout.first.weight"][0, 0] = float("nan")
    save_weights(state, info.path, info.card)
    with pytest.raises(InputError, match="NaN or infinite"):
        load_network(info.path)


def test_a_changed_file_is_refused(saved):
    _, info = saved
    data = bytearray(info.path.read_bytes())
    data[-1] ^= 1
    info.path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="sha256"):
        load_network(info.path)
    info.path.write_bytes(bytes(data[:100]))
    with pytest.raises(InputError, match="unreadable"):
        load_network(info.path)


def test_missing_or_foreign_cards_are_named(saved, tmp_path):
    _, info = saved
    card = info.path.with_suffix(".json")
    text = json.loads(card.read_text())
    text["network"]["scalars"] = 12
    card.write_text(json.dumps(text))
    with pytest.raises(InputError, match="do not fit"):
        load_network(info.path)
    text["network"]["wings"] = 2
    card.write_text(json.dumps(text))
    with pytest.raises(InputError, match="newer version"):
        load_network(info.path)
    card.write_text("{")
    with pytest.raises(InputError, match="not a model card"):
        find_weights(info.path)
    card.unlink()
    with pytest.raises(InputError, match="is missing"):
        find_weights(info.path)
    with pytest.raises(InputError, match="no weights 'nothing'"):
        find_weights("nothing")
