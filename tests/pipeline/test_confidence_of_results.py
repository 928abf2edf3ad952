"""The chance that the most agreed placement is right: from the card of the weights, where it has one."""

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.sampling.deduplication import calibrated_agreement

FAST = {"samples": 4, "steps": 10}


def test_agreement_becomes_a_chance_and_grows_with_it():
    p = calibrated_agreement(np.linspace(0.0, 1.0, 11), 2.2)
    assert p[0] == 0.0 and p[-1] == 1.0 and (np.diff(p) > 0).all() and (p[1:-1] > np.linspace(0.1, 0.9, 9)).all()


def test_results_carry_it_unless_they_were_relaxed_or_the_weights_do_not_know():
    network = load_network()
    sharpness = network.info.card["confidence"]["sharpness"]
    result = inpaint(network, SPINEL, {"Li": 1}, score=False, **FAST)
    most = max(candidate.agreement for candidate in result.candidates)
    assert result.confidence == pytest.approx(1 - (1 - most) ** sharpness)
    assert result.as_dict()["confidence"] == result.confidence
    relaxed = inpaint(network, SPINEL, {"Li": 1}, relax="guests", top_k=1, relax_steps=2, **FAST)
    assert relaxed.confidence is None
    repaint = {"score": False, "samples": 4, "steps": 40, "strategy": "repaint"}
    assert inpaint(network, SPINEL, {"Li": 1}, **repaint).confidence is None
    del network.info.card["confidence"]
    assert inpaint(network, SPINEL, {"Li": 1}, score=False, **FAST).confidence is None
