"""Archives merged from runs that differ: each energy keeps its kind, or is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_voltage import SITES, SPINEL, archive_of, filled, record

from inpaint_hpc.analysis.archive_voltage import archive_profiles
from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.rows import HostEnergies, Provenance
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.run_results import collect_inputs
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.provenance import provenance_of_file
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.chgnet.models import weights_digest
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax


def energy(crystal, weights="0.3.0") -> float:
    return float(evaluate([crystal], weights, what="e").energy_per_atom[0])


def profiles(path, **options):
    with Archive(path) as archive:
        return archive_profiles(archive, **options)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_old_runs_by_two_potentials_stay_apart(tmp_path, order):
    """Their configurations differ, so the merged file has none; each task keeps what that of its own file said."""
    paths = [
        archive_of(tmp_path / "pbe.h5", [record([3], SITES[0], energy(filled(1)))], chgnet="0.3.0"),
        archive_of(tmp_path / "r2scan.h5", [record([3, 3], SITES, energy(filled(2), "r2scan"))], chgnet="r2scan"),
    ]
    merged = tmp_path / "merged.h5"
    assert collect_inputs([paths[k] for k in order], merged).tasks == 2
    with Archive(merged) as archive:
        assert "configuration" not in archive.attributes
        assert set(archive.tasks()["potential"]) == {"CHGNet 0.3.0", "CHGNet r2scan"}
    both = {profile.chgnet: profile for profile in profiles(merged)}
    assert set(both) == {"0.3.0", "r2scan"}
    for path, weights in zip(paths, ("0.3.0", "r2scan"), strict=True):
        (alone,) = profiles(path)
        assert both[weights].rows() == alone.rows()
        assert 2.0 < alone.steps[0].voltage < 5.0


def test_treatments_stay_apart_and_other_knobs_do_not(tmp_path):
    (one,) = relax([filled(1)], settings=RelaxSettings("positions", fmax=0.3))
    static = energy(filled(1))
    other = replace(record([3], SITES[0], static, one), task_id="ab" * 32)  # other settings, another id
    paths = [
        archive_of(tmp_path / "none.h5", [record([3], SITES[0], static)], evaluations=48),
        archive_of(tmp_path / "more.h5", [record([3, 3], SITES, energy(filled(2)))], evaluations=96),
        archive_of(tmp_path / "relaxed.h5", [other], "positions", fmax=0.3),
    ]
    collect_inputs(paths, tmp_path / "merged.h5")
    found = {profile.treatment: profile for profile in profiles(tmp_path / "merged.h5")}
    assert {name: len(profile.filled) for name, profile in found.items()} == {"none": 2, "positions": 1}


def test_what_is_unknown_is_refused(tmp_path):
    """As in archives that were merged before tasks said it."""
    paths = [
        archive_of(tmp_path / f"{weights}.h5", [record([3] * n, SITES[:n], -7.0)], chgnet=weights)
        for n, weights in ((1, "0.3.0"), (2, "r2scan"))
    ]
    collect(paths, tmp_path / "merged.h5")  # the archive's own function fills nothing in
    with pytest.raises(InputError, match="2 tasks do not say by which potential") as error:
        profiles(tmp_path / "merged.h5")
    assert "\n" not in str(error.value)
    assert provenance_of_file({}) is None and provenance_of_file({"configuration": {"steps": 40}}) is None


def test_energies_of_the_host_in_the_archive_are_used(tmp_path):
    known = Provenance(potential="CHGNet 0.3.0", potential_sha256=weights_digest(), treatment="none")
    task = replace(
        record([3], SITES[0], energy(filled(1))), provenance=known, host_energies=HostEnergies(energy=-100.0)
    )
    write_result(tmp_path / "a.h5", [task])
    (profile,) = profiles(tmp_path / "a.h5")
    assert profile.empty.energy == -100.0
    other = replace(task, provenance=replace(known, potential_sha256="ab" * 32))
    write_result(tmp_path / "b.h5", [other])
    with pytest.raises(InputError, match="those installed are"):
        profiles(tmp_path / "b.h5")
    write_result(tmp_path / "c.h5", [replace(task, provenance=replace(known, potential="MACE"))])
    with pytest.raises(InputError, match="the potential 'MACE' is not known"):
        profiles(tmp_path / "c.h5")


def test_unfinished_relaxations_and_mixed_guests_are_said(tmp_path):
    (one,) = relax([filled(1)], settings=RelaxSettings("positions", fmax=0.3))
    task = record([3], SITES[0], energy(filled(1)), one)
    (candidate,) = task.candidates
    unfinished = replace(candidate, relaxed=replace(candidate.relaxed, outcome="unfinished"))
    tasks = [replace(task, candidates=[unfinished]), record([3, 12], SITES, -7.0)]
    (profile,) = profiles(archive_of(tmp_path / "a.h5", tasks, "positions", fmax=0.3))
    assert any("1 of 1 energies are of relaxations that had not converged" in note for note in profile.notes)
    assert any("1 tasks with guests of several elements are left out" in note for note in profile.notes)
    assert SPINEL.name == profile.host
