"""Energies of the host alone, and energies per guest, against chgnet's own sums."""

from __future__ import annotations

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.pipeline import host_energies as module
from inpaint_hpc.pipeline.host_energies import host_energies
from inpaint_hpc.pipeline.ranking_stage import TaskCandidates, rank_by_energy
from inpaint_hpc.pipeline.results import Candidate
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.pipeline.wyckoff_cache import WyckoffCache
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.chgnet.models import load_chgnet_model, quiet
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

SITES = np.array([[[0.125] * 3, [0.875] * 3]])


def total(crystal) -> float:
    """eV of the cell, by chgnet itself."""
    with quiet():
        return float(load_chgnet_model().predict_structure(crystal.to_structure())["e"]) * len(crystal)


def ranked(relaxation: str) -> TaskCandidates:
    pipeline = PipelineSettings(relax=relaxation, fmax=0.3, relax_steps=20)
    task = Task(SPINEL, {"Li": 2})
    candidate = Candidate(  # of another Wyckoff position, to see which one is which afterwards
        rank=0,
        guest_frac_coords=SITES[0],
        sample=0,
        members=(0,),
        agreement=1.0,
        spread=0.0,
        min_distance=1.9,
        wyckoff=("2a", "2a"),
        multiplicity=(1, 1),
    )
    one = TaskCandidates(task, WyckoffCache(SPINEL, 0.1, 0.5), [candidate])
    rank_by_energy([one], pipeline, "cpu")
    return one


def test_as_placed_it_is_the_difference_to_the_host_as_given():
    one = ranked("none")
    (candidate,) = one.candidates
    expected = (total(SPINEL.with_guests([3, 3], SITES[0])) - total(SPINEL)) / 2
    assert candidate.energy_per_guest == pytest.approx(expected, abs=2e-4)
    assert one.host_energies.energy == pytest.approx(total(SPINEL), abs=2e-4)
    assert one.host_energies.relaxed_energy is None and candidate.relaxed is None


def test_in_a_frozen_host_the_host_stays_as_it_is():
    one = ranked("guests")
    (candidate,) = one.candidates
    energies = one.host_energies
    assert energies.relaxed_energy == energies.energy and energies.relaxed_volume == pytest.approx(SPINEL.volume)
    relaxed = candidate.relaxed
    expected = (total(relaxed.crystal(SPINEL, (3, 3))) - total(SPINEL)) / 2
    assert relaxed.energy_per_guest == pytest.approx(expected, abs=2e-4)
    assert candidate.placed_wyckoff == ("2a", "2a") and candidate.wyckoff == ("8a", "8a")
    assert candidate.placed_agreement == 1.0


def test_a_host_is_relaxed_as_its_candidates_are(monkeypatch):
    monkeypatch.setattr(module, "_KNOWN", type(module._KNOWN)())
    one = ranked("cell")
    (alone,) = relax([SPINEL], settings=RelaxSettings("cell", fmax=0.3, max_steps=20))
    energies, relaxed = one.host_energies, one.candidates[0].relaxed
    assert energies.relaxed_energy == pytest.approx(alone.energy_per_atom * len(SPINEL), abs=1e-4)
    assert energies.relaxed_volume == pytest.approx(alone.crystal.volume, rel=1e-5)
    expected = (relaxed.energy_per_atom * (len(SPINEL) + 2) - energies.relaxed_energy) / 2
    assert relaxed.energy_per_guest == pytest.approx(expected, abs=1e-9)


def test_a_host_is_computed_once(monkeypatch):
    monkeypatch.setattr(module, "_KNOWN", type(module._KNOWN)())
    first = host_energies([SPINEL, SPINEL], PipelineSettings(), "cpu")
    monkeypatch.setattr(module, "evaluate", None)  # would fail if it were asked again
    assert first[0] is first[1] is host_energies([SPINEL], PipelineSettings(), "cpu")[0]
    assert len(module._KNOWN) == 1
