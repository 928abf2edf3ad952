"""In which order candidates are handed out, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.candidate_order import by_energy, handed_out, order_note
from inpaint_hpc.pipeline.results import Candidate, Relaxed
from inpaint_hpc.pipeline.settings import PipelineSettings, settings_that_decide
from inpaint_hpc.sampling.tasks import Task

TWO = Task(SPINEL, [3, 3])
N_ATOMS = len(SPINEL) + 2


def made(*rows, force):
    """Candidates of (energy of the cell, samples of ten that show it); every one with the same largest force."""
    places = np.array([[0.125] * 3, [0.875] * 3])
    return [
        Candidate(
            rank=k,
            guest_frac_coords=places,
            sample=-1,
            members=tuple(range(count)),
            agreement=count / 10,
            spread=None,
            min_distance=1.9,
            energy_per_atom=None if energy is None else energy / N_ATOMS,
            max_force=None if energy is None else force,
            max_guest_force=None if energy is None else 0.1,
        )
        for k, (energy, count) in enumerate(rows)
    ]


def order(found, task=TWO, **settings):
    return handed_out(task, found, PipelineSettings(**settings))


def test_samples_weigh_as_much_as_the_host_has_yet_to_relax():
    rows = (-60.0, 0), (-59.5, 7), (-59.9, 1), (None, 2)
    assert order(made(*rows, force=0.01)) == [0, 2, 1, 3]  # relaxed with guests in it: energy alone
    assert order(made(*rows, force=3.0)) == [1, 2, 0, 3]
    # At k = 5 eV/A^2 a force F gives back F^2 / 10: 0.5 eV are worth ln(0.7 / 0.05) = 2.64 of them.
    turn = np.sqrt(10 * 0.5 / np.log(0.7 / 0.05))
    assert order(made(*rows[:2], force=turn - 0.01)) == [0, 1] and order(made(*rows[:2], force=turn + 0.01)) == [1, 0]
    assert order(made(*rows[:2], force=turn + 0.01), host_stiffness=6.0) == [0, 1]


def test_energy_alone_for_one_guest_after_relaxation_without_samples_and_where_asked():
    found = made((-60.0, 0), (-59.5, 7), force=3.0)
    assert order(found) == [1, 0]
    assert order(found, host_stiffness=0.0) == by_energy(found) == [0, 1]
    assert order(found, task=Task(SPINEL, [3])) == [0, 1]
    assert order([replace(c, members=(), agreement=0.0) for c in found]) == [0, 1]
    relaxed = [
        replace(c, relaxed=Relaxed(outcome="converged", steps=3, energy_per_atom=c.energy_per_atom)) for c in found
    ]
    assert order(relaxed, relax="guests") == [0, 1]
    assert order(made((None, 3), (None, 4), force=0.0)) == [1, 0] and order([]) == []


def test_a_line_says_that_the_first_is_not_the_lowest():
    found = made((-60.0, 0), (-59.5, 7), force=3.0)
    (line,) = order_note(TWO, [found[k] for k in order(found)])
    assert line.startswith("another candidate is 250 meV per guest lower as placed") and "forces of 3.0 eV/A" in line
    assert order_note(TWO, found) == [] and order_note(TWO, []) == []
    assert order_note(Task(SPINEL, [3]), found[::-1]) == []


def test_it_decides_results_where_nothing_is_relaxed():
    def deciding(**settings):
        return settings_that_decide(vars(PipelineSettings(**settings)))

    assert deciding()["host_stiffness"] == 5.0
    assert "host_stiffness" not in deciding(relax="guests") | deciding(score=False) | deciding(host_stiffness=0.0)
    assert "host_stiffness" not in settings_that_decide({"score": True})  # frozen before there was such a setting
    with pytest.raises(InputError, match="host_stiffness must be at least 0"):
        PipelineSettings(host_stiffness=-1.0)
