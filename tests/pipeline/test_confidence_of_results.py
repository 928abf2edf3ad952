"""The chance that the first candidate is right: from the card of the weights, where it has one."""

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.archive.rows import Candidate
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.confidence import features, first_confidence, probability
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.sampling.deduplication import calibrated_agreement

FAST = {"samples": 4, "steps": 10}
SMALL = load_network().info.card
VALID = 16


def candidate(rank, count, force=0.1, valid=VALID):
    return Candidate(
        rank=rank,
        sample=0,
        agreement=count / valid,
        spread=0.0,
        min_distance=2.0,
        max_force=force,
        energy_per_guest=None if force is None else -3.0 + rank,
        guest_frac_coords=np.zeros((1, 3)),
        members=tuple(range(count)),
    )


def chance(*counts, force=0.1, valid=VALID, card=SMALL):
    return first_confidence(card, [candidate(k, n, force, valid) for k, n in enumerate(counts)], valid)


def test_agreement_becomes_a_chance_and_grows_with_it():
    p = calibrated_agreement(np.linspace(0.0, 1.0, 11), 2.2)
    assert p[0] == 0.0 and p[-1] == 1.0 and (np.diff(p) > 0).all() and (p[1:-1] > np.linspace(0.1, 0.9, 9)).all()


def test_it_is_of_the_first_candidate_and_never_certain():
    assert chance(16) < 1.0 and chance(0, 16) > 0.0
    assert chance(10, 6) > chance(6, 2, 8) > chance(1, 8, 7)
    assert chance(16, force=0.02) > chance(16, force=5.0)
    assert chance(16, force=None) > chance(9, 7, force=None)
    assert chance(16, force=5.0) > chance(4, force=5.0, valid=4)


def test_without_candidates_or_with_few_samples_nothing_is_known():
    assert chance() is None and chance(3, valid=3) is None and chance(16, card={}) is None


def test_cards_with_a_sharpness_speak_of_the_favourite_alone():
    card = {"confidence": {"sharpness": 2.0}}
    assert chance(8, 8, card=card) == pytest.approx(0.75)
    assert chance(16, card=card) == 0.99
    assert chance(6, 8, card=card) is None


def test_features_stay_within_what_was_fitted():
    one = {"coefficient": 1.0, "mean": 0.0, "scale": 2.0, "low": -1.0, "high": 2.0}
    model = {"features": {"agreement": one}, "intercept": 0.5, "ceiling": 0.8}
    assert probability(model, {"agreement": -9.0}) == pytest.approx(0.5)
    assert probability(model, {"agreement": 0.0}) == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert probability(model, {"agreement": 9.0}) == 0.8
    found = features([candidate(0, 4, force=1e6), candidate(1, 12)], VALID)
    assert found["apart"] == 1.0 and found["force"] == np.log(5.0)


def test_results_carry_it_unless_they_were_relaxed_or_the_weights_do_not_know():
    network = load_network()
    result = inpaint(network, SPINEL, {"Li": 1}, **FAST)
    known = features(result.candidates, result.n_valid)
    assert result.confidence == probability(network.info.card["confidence"]["ranked"], known)
    assert result.as_dict()["confidence"] == result.confidence
    result = inpaint(network, SPINEL, {"Li": 1}, score=False, **FAST)
    known = features(result.candidates, result.n_valid)
    assert result.confidence == probability(network.info.card["confidence"]["placed"], known)
    relaxed = inpaint(network, SPINEL, {"Li": 1}, relax="guests", top_k=1, relax_steps=2, **FAST)
    assert relaxed.confidence is None
    repaint = {"score": False, "samples": 4, "steps": 40, "strategy": "repaint"}
    assert inpaint(network, SPINEL, {"Li": 1}, **repaint).confidence is None
    del network.info.card["confidence"]
    assert inpaint(network, SPINEL, {"Li": 1}, score=False, **FAST).confidence is None
