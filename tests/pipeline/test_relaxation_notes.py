"""Notes on what relaxation did to the first candidate."""

from dataclasses import replace

import numpy as np
import pytest
from example_hosts import PRUSSIAN_BLUE, SPINEL

from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import inpaint
from inpaint_hpc.pipeline.relaxation_notes import framework_departure, relaxation_notes
from inpaint_hpc.pipeline.results import Candidate, Relaxed
from inpaint_hpc.sampling.tasks import Task

SITE_8A = np.array([[0.125] * 3])


def notes(guest=SITE_8A, host_frac=None, lattice=None):
    """For lithium placed on 8a of the spinel, and what relaxation made of it."""
    relaxed = Relaxed(
        outcome="converged",
        steps=9,
        energy_per_atom=-7.0,
        guest_frac_coords=guest % 1.0,
        host_frac_coords=host_frac,
        lattice=lattice,
    )
    placed = Candidate(
        rank=0,
        guest_frac_coords=SITE_8A,
        sample=0,
        members=(0,),
        agreement=1.0,
        spread=0.1,
        min_distance=1.9,
        multiplicity=(2,),
        wyckoff=("8a",),
    )
    return relaxation_notes(Task(SPINEL, [3]), [replace(placed, relaxed=relaxed)])


def moved(atom, *by):
    frac = SPINEL.frac_coords.copy()
    frac[atom] += np.array(by) @ np.linalg.inv(SPINEL.lattice)
    return frac


def test_what_stays_in_place_needs_no_note():
    assert notes() == []
    assert notes(SITE_8A + 0.02, moved(0, 0.2, 0, 0), SPINEL.lattice * 1.04) == []
    # Everything shifted, and wrapped into the cell: nothing moved.
    assert notes(SITE_8A + 0.4, (SPINEL.frac_coords + 0.4) % 1.0) == []
    assert relaxation_notes(Task(SPINEL, [3]), []) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guest": SITE_8A + [0.25, 0, 0]}, "relaxation: Li of the first candidate left its site by 1.4 A"),
        ({"lattice": SPINEL.lattice * 1.06}, "relaxation: the volume of the first candidate changed by +19 %"),
        ({"lattice": SPINEL.lattice * 0.9}, "relaxation: the volume of the first candidate changed by -27 %"),
    ],
)
def test_one_line_for_each(change, message):
    assert notes(**change) == [message]


def test_a_host_atom_that_goes_away_leaves_its_bonds():
    oxygen = int(np.flatnonzero(SPINEL.numbers == 8)[0])
    first, second = notes(host_frac=moved(oxygen, 1.2, 0.9, 0.3))
    assert first.startswith("relaxation: host atoms of the first candidate moved, O by 1.")
    assert (
        "host bond" in second and "of the first candidate broke" in second and "Mn-O" in second.replace("O-Mn", "Mn-O")
    )
    away = SPINEL.with_guests([3], SITE_8A)
    assert framework_departure(SPINEL, away) == ""
    away = replace(away, frac_coords=np.concatenate([moved(oxygen, 1.2, 0.9, 0.3), SITE_8A]))
    assert framework_departure(SPINEL, away) in second.replace(" of the first candidate", "")


def test_a_run_says_that_a_guest_left():
    """The model puts sodium on 8c, a saddle point 1.1 A from the minimum."""
    network = load_network(device="cpu")
    result = inpaint(network, PRUSSIAN_BLUE, {"Na": 1}, samples=4, steps=20, seed=0, relax="guests")
    assert any(note.startswith("relaxation: Na of the first candidate left its site by 1.") for note in result.notes)
    assert result.as_dict()["notes"] == list(result.notes)
