"""The confidence of first candidates: read from archives, fitted, and measured on frameworks that were not fitted."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from example_hosts import SPINEL

from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, Provenance, Sample
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.benchmark.confidence import calibration_error, reliability
from inpaint_hpc.benchmark.first_confidence import Outcome, fit_model, half_of, held_out, outcomes_of
from inpaint_hpc.benchmark.sources import Source
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.confidence import probability

WEIGHTS = "ab" * 32
SITE, OTHER = np.array([[0.125, 0.125, 0.125]]), np.array([[0.3, 0.31, 0.32]])
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "confidence.py"


def made_up(n, seed=0):
    """Outcomes that come about with a known probability; two tasks for each framework."""
    rng = np.random.default_rng(seed)
    outcomes = []
    for k in range(n):
        agreement, force = rng.normal(0, 2), rng.normal(0, 1)
        right = bool(rng.random() < 1 / (1 + np.exp(-(1.0 + agreement - 0.7 * force))))
        found = {"agreement": agreement, "favourite": agreement, "apart": 0.0, "force": force}
        outcomes.append(Outcome(f"framework {k // 2}", "made up", found, right, right, 0.5))
    return outcomes


def record(number, right, force=0.1, weights=WEIGHTS, **changes):
    """A task of five samples, three of which chose the first candidate."""
    places = [SITE, OTHER] if right else [OTHER, SITE]
    host = replace(SPINEL, name=f"host {number}", lattice=SPINEL.lattice * (1 + 1e-6 * number))
    owners = (0, 0, 0, 1, 1)
    common = {"spread": 0.0, "min_distance": 2.0, "reference_rmsd": 0.0, "max_force": force}
    candidates = [
        Candidate(
            rank=k,
            sample=3 * k,
            agreement=(0.6, 0.4)[k],
            energy_per_atom=None if force is None else -7.0 + k,
            guest_frac_coords=place,
            reference_distance=0.0 if place is SITE else None,
            members=tuple(i for i, owner in enumerate(owners) if owner == k),
            **common,
        )
        for k, place in enumerate(places)
    ]
    samples = [
        Sample(k, True, "", 2.0, owner, places[owner], 0.0, 0.0 if places[owner] is SITE else None)
        for k, owner in enumerate(owners)
    ]
    given = {
        "task_id": f"{number:064x}",
        "host": host,
        "guests": (3,),
        "n_requested": len(samples),
        "samples": samples,
        "candidates": candidates,
        "reference_frac_coords": SITE,
        "reference_tolerance": 0.5,
        "provenance": Provenance(potential="CHGNet 0.3.0", treatment="none", weights_sha256=weights),
    }
    return TaskRecord(**given | changes)


def archive(path, records):
    write_result(path, records)
    return Source(path)


def test_a_fit_finds_the_probabilities_that_outcomes_came_about_with():
    outcomes = made_up(4000)
    model = fit_model(outcomes)
    assert set(model["features"]) == {"agreement", "favourite", "force"}, "what is the same everywhere says nothing"
    p = np.array([probability(model, one.found) for one in outcomes])
    truth = np.array([1 / (1 + np.exp(-(1 + one.found["agreement"] - 0.7 * one.found["force"]))) for one in outcomes])
    assert np.abs(p - truth).max() < 0.06 and p.max() == model["ceiling"] < 1.0
    assert calibration_error(reliability(held_out(outcomes), [one.right for one in outcomes])) < 0.03


def test_a_framework_is_not_predicted_by_a_fit_to_itself():
    outcomes = made_up(200)
    flipped = [replace(one, right=not one.right) if half_of(one.group) else one for one in outcomes]
    side = np.array([half_of(one.group) for one in outcomes])
    before, after = held_out(outcomes), held_out(flipped)
    assert 0 < side.sum() < len(side)
    assert (before[side == 1] == after[side == 1]).all() and (before[side == 0] != after[side == 0]).all()


def test_outcomes_that_are_all_the_same_cannot_be_fitted():
    with pytest.raises(InputError, match="right and wrong"):
        fit_model([one for one in made_up(50) if one.right])


def test_archives_say_whether_the_first_candidate_is_right(tmp_path):
    source = archive(tmp_path / "a.h5", [record(0, True), record(1, False), record(2, True, samples=(), candidates=())])
    found = outcomes_of(source, "mine", WEIGHTS)
    assert [one.right for one in found] == [one.favourite_right for one in found] == [True, False]
    assert found[0].group == "host 0" and found[0].favourite == 0.6 and found[0].found["force"] == np.log(0.1)
    assert set(found[0].placed().found) == {"agreement"}
    with pytest.raises(InputError, match="other weights"):
        outcomes_of(source, "mine", "00" * 32)
    with pytest.raises(InputError, match="without an energy"):
        outcomes_of(archive(tmp_path / "b.h5", [record(0, True, force=None)]), "mine")


def test_the_script_writes_the_entry_of_a_card(tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"name": "mine", "sha256": WEIGHTS, "confidence": {"sharpness": 2.0}}))
    source = archive(tmp_path / "a.h5", [record(k, k % 3 > 0, 0.1 + k % 3) for k in range(40)]).archive
    main = runpy.run_path(str(SCRIPT))["main"]
    plot = tmp_path / "plot.png"
    done = CliRunner().invoke(main, [str(source), "--write", str(card), "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    entry = json.loads(card.read_text())["confidence"]
    assert entry["of"] == "first candidate" and entry["data"]["a.h5"]["hosts"] == 40 and "sharpness" not in entry
    assert entry["held_out"]["ranked"]["all"]["hosts"] == 40 and plot.stat().st_size > 0


def test_the_card_of_the_packaged_weights_is_as_good_as_the_documentation_says():
    measured = load_network().info.card["confidence"]["held_out"]["ranked"]
    assert measured["all"]["calibration_error"] <= 0.03 and measured["all"]["discrimination"] >= 0.85
    assert all(one["discrimination"] >= 0.85 for one in measured.values())
