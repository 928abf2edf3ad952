"""LES: the true placement is as low as itself, and no energy is computed twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored_tasks import record

from inpaint_hpc.benchmark.les import lowest_states
from inpaint_hpc.crystals.packed import read_electrodes

PAIR = min(read_electrodes(Path(__file__).parents[1] / "data" / "electrodes.h5"), key=lambda pair: len(pair.reference))
TRUE = PAIR.reference.frac_coords[len(PAIR.host) :]


def task(number, placed):
    host = replace(PAIR.host, info={})
    made = record(number, [], [placed], guests=(PAIR.guest_z,) * PAIR.n_guest, host=host)
    return replace(made, reference_frac_coords=TRUE)


def test_the_true_placement_is_found_and_kept(tmp_path):
    kept, references, done = tmp_path / "les.json", {PAIR.name: PAIR.reference}, []
    shifted = TRUE + 0.02
    tasks = [task(1, TRUE), task(2, shifted)]
    first = lowest_states(tasks, kept, references, progress=done.append)
    assert done == [2] and len(first) == 2
    assert first[tasks[0].task_id].les and first[tasks[0].task_id].matches
    energies = [one.reference_energy for one in first.values()]
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)
    # Again nothing is computed; another candidate is, and what does not count is left out.
    assert lowest_states(tasks, kept, references, progress=done.append) == first and done == [2]
    other = [task(1, np.array(shifted)), tasks[1]]
    again = lowest_states(other, kept, references, wanted={tasks[0].task_id}, progress=done.append)
    assert done == [2, 1] and list(again) == [tasks[0].task_id]
    assert lowest_states([replace(tasks[0], candidates=[])], kept, references) == {}


def test_without_a_reference_the_host_has_the_guests_where_they_were(tmp_path):
    """As where ions were taken out of a crystal: candidate and reference are then the same crystal."""
    (state,) = lowest_states([task(1, TRUE)], tmp_path / "les.json", {}).values()
    assert state.les and state.energy == state.reference_energy
    assert abs(state.energy_deviation) < 1e-6  # alike but for the rounding of a batch
    assert state.max_force == pytest.approx(state.reference_max_force, abs=1e-5)
