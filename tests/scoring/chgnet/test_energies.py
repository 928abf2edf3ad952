"""CHGNet scores: equal to chgnet's own, failures kept to themselves, and quiet."""

import subprocess
import sys

import numpy as np
import pytest
from example_hosts import MNO2, SPINEL

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.scoring.chgnet.energies import _score, evaluate_candidates, load_chgnet
from inpaint_hpc.scoring.chgnet.models import quiet

LAYERED = read_hosts([MNO2 / "delta_mp-25223.cif"])[0]
LITHIATED = SPINEL.with_guests([3], [[0.125, 0.125, 0.125]])
OFF_SITE = SPINEL.with_guests([3], [[0.15, 0.12, 0.13]])
LONELY = Crystal([3], [[0, 0, 0]], np.eye(3) * 30.0)
UNKNOWN = SPINEL.with_guests([99], [[0.125, 0.125, 0.125]])


def test_equal_to_chgnet_itself():
    crystals = [LITHIATED, OFF_SITE, LAYERED]
    scores = evaluate_candidates(crystals, [1, 1, 0])
    model = load_chgnet()
    for crystal, score, n_guests in zip(crystals, scores, [1, 1, 0], strict=True):
        with quiet():
            expected = model.predict_structure(crystal.to_structure(), task="ef")
        forces = np.linalg.norm(expected["f"], axis=1)
        assert score.energy_per_atom == pytest.approx(float(expected["e"]), abs=1e-5)
        np.testing.assert_allclose(score.forces, expected["f"], atol=1e-3)
        assert score.max_force == pytest.approx(forces.max(), abs=1e-3)
        assert score.max_guest_force == pytest.approx(forces[-1] if n_guests else 0.0, abs=1e-3)
    assert scores[0].max_guest_force < 0.01 < scores[1].max_guest_force


def test_failures_leave_their_neighbours_alone():
    counted = []
    crystals = [LITHIATED, LONELY, OFF_SITE, UNKNOWN, LITHIATED]
    scores = evaluate_candidates(crystals, 1, batch_size=5, progress=counted.append)
    assert [s.failed for s in scores] == [False, True, False, True, False]
    assert "isolated" in scores[1].error and "\n" not in scores[1].error
    assert np.isnan(scores[1].energy_per_atom) and scores[1].forces is None
    alone = evaluate_candidates([OFF_SITE], 1)[0]
    assert scores[2].energy_per_atom == pytest.approx(alone.energy_per_atom, abs=1e-5)
    assert sum(counted) == 5


def test_the_largest_force_is_that_of_guests_or_of_all():
    forces = np.zeros((13, 3))
    forces[0, 0], forces[12] = 6.0, [0.0, 3.0, 4.0]
    good = _score(-1.0, forces, "", 1)
    assert not good.failed and (good.energy_per_atom, good.max_force, good.max_guest_force) == (-1.0, 6.0, 5.0)
    assert _score(-1.0, forces, "", 0).max_guest_force == 0.0
    bad = _score(np.nan, np.full((13, 3), np.nan), "no such thing", 1)
    assert bad.failed and bad.error == "not scored: no such thing" and bad.forces is None and np.isnan(bad.max_force)


def test_batches_do_not_matter():
    crystals = [LITHIATED, OFF_SITE, LAYERED, SPINEL]
    single = evaluate_candidates(crystals, batch_size=1)
    together = evaluate_candidates(crystals, batch_size=4)
    for a, b in zip(single, together, strict=True):
        assert a.energy_per_atom == pytest.approx(b.energy_per_atom, abs=1e-5)
        assert a.max_force == pytest.approx(b.max_force, abs=1e-3)


def test_nothing_to_score_and_wrong_counts():
    assert evaluate_candidates([]) == []
    with pytest.raises(ValueError, match="2 crystals but 1"):
        evaluate_candidates([SPINEL, SPINEL], [0])


def test_loaded_once_and_without_a_word():
    assert load_chgnet() is load_chgnet()
    script = (
        "import numpy as np\n"
        "from inpaint_hpc.crystals.batch import Crystal\n"
        "from inpaint_hpc.scoring.chgnet.energies import evaluate_candidates\n"
        "host = Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 3.0)\n"
        "assert not evaluate_candidates([host])[0].failed\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
