"""Tables of archives: recorded results of a campaign, made-up ones, and placements that are known to be right."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive.made_up_results import WEIGHTS, make_record, task_id
from example_hosts import SPINEL
from test_voltage import SITES, archive_of, record

from inpaint_hpc.analysis import tables
from inpaint_hpc.archive.export import Selection, export
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.site_records import sites_of_networks
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.errors import InputError
from inpaint_hpc.sites.clustering import network_from_positions

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "finished"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The archive of a campaign of four tasks."""
    run = tmp_path_factory.mktemp("run") / "finished"
    shutil.copytree(RECORDED, run)
    collect_run(RunDirectory(run))
    return run / "archive.h5"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Forty tasks with relaxed candidates; some failed, some have no candidates."""
    path = tmp_path_factory.mktemp("made-up") / "archive.h5"
    write_result(path, [make_record(k, newest=True) for k in range(40)], WEIGHTS)
    return path


def test_candidates_are_the_table_that_export_writes(recorded, made_up, tmp_path):
    for path in (recorded, made_up):
        with Archive(path) as archive:
            found = tables.candidates(archive)
            export(archive, tmp_path / "all.csv", "csv", Selection(top=None))
            ids = np.array(archive.task_ids())
        written = pd.read_csv(tmp_path / "all.csv")
        assert ids[found.task].tolist() == written.task.tolist()
        for name in ("host", "formula", "n_samples", "n_valid", "rank", "origin"):
            assert found[name].tolist() == written[name].tolist(), name
        for name in ("agreement", "energy_per_atom_eV", "energy_per_guest_eV"):
            np.testing.assert_allclose(found[name], written[name])
        assert [set(label.split()) for label in found.guests] == [set(label.split()) for label in written.guests]
        assert set(found) - set(written) <= {"ion", "n_guests", "confidence"}


def test_the_best_are_the_first_candidates(made_up):
    with Archive(made_up) as archive:
        best, every = tables.best(archive), tables.candidates(archive)
        tasks = archive.tasks()
        assert best.wyckoff.iloc[0] == ", ".join(archive.candidates(int(best.task.iloc[0])).wyckoff.iloc[0])
    pd.testing.assert_frame_equal(best, every[every["rank"] == 0].reset_index(drop=True))
    assert best.task.tolist() == tasks.index[tasks.n_candidates > 0].tolist()
    assert best.n_guests.tolist() == [sum(int(part.split("=")[1]) for part in label.split()) for label in best.guests]


def test_sites_have_their_host(tmp_path):
    network = network_from_positions(SPINEL, 3, [[0.125] * 3] * 3 + [[0.0] * 3], saturated=True)
    one = replace(make_record(0, host=SPINEL), sites=sites_of_networks([network]))
    write_result(tmp_path / "s.h5", [one], WEIGHTS)
    with Archive(tmp_path / "s.h5") as archive:
        found = tables.sites(archive)
    assert found.wyckoff.tolist() == [orbit.wyckoff for orbit in network.orbits]
    assert set(found.ion) == {"Li"} and set(found.host) == {SPINEL.name}


def test_hull_and_voltage_are_those_of_the_profiles(tmp_path):
    records = [record([3] * n, SITES[:n], -7.0 - 0.2 * n) for n in (1, 2)]
    with Archive(archive_of(tmp_path / "a.h5", records)) as archive:
        hull, voltage = tables.hull(archive, ions=[3]), tables.voltage(archive)
    assert hull.guests.tolist() == [1, 2] and set(hull.ion) == {"Li"} and hull.stable.any()
    assert voltage["from"].iloc[0] == 0 and voltage["to"].iloc[-1] == hull.guests[hull.stable].max()
    assert voltage.voltage_V.iloc[0] == pytest.approx(
        hull.average_voltage_V[hull.guests == voltage["to"].iloc[0]].max(), abs=1e-9
    )


def test_what_was_taken_out_is_matched_up_to_symmetry(tmp_path):
    other = replace(record([3], SITES[1], -7.0), reference_frac_coords=SITES[:1])  # the same orbit
    wrong = replace(record([3], [0.5, 0, 0], -6.9), reference_frac_coords=SITES[:1])
    unknown = record([12], SITES[0], -7.1)
    with Archive(archive_of(tmp_path / "a.h5", [other, wrong, unknown])) as archive:
        found = tables.match(archive)
    assert found.task.tolist() == [0, 1] and found.match.tolist() == [True, False]
    assert found.rmsd_A.iloc[0] == pytest.approx(0.0, abs=1e-3)


def test_a_reference_can_be_given(tmp_path):
    right = SPINEL.with_guests([3], SITES[:1])
    records = [record([3], SITES[1], -7.0), record([3], [0.5, 0, 0], -6.9)]
    with Archive(archive_of(tmp_path / "a.h5", records)) as archive:
        for reference in (right, right.to_structure(), {SPINEL.name: right}):
            assert tables.match(archive, reference).match.tolist() == [True, False]
        with pytest.raises(InputError, match="no candidate has a reference"):
            tables.match(archive, {"another host": right})
        with pytest.raises(InputError, match="no candidate has a reference"):
            tables.match(archive)


def test_an_archive_is_the_same_as_itself(recorded):
    with Archive(recorded) as archive:
        found, best = tables.compare(archive, archive), tables.best(archive)
    assert found.match.all() and found.rmsd_A.max() < 1e-6
    assert found.agreement_first.tolist() == found.agreement_second.tolist() == best.agreement.tolist()


def test_runs_with_other_settings_are_compared_by_host_and_guests(tmp_path):
    first = [record([3], SITES[0], -7.0), record([12], SITES[0], -7.0)]
    second = [record([12], [0.5, 0, 0], -6.0), record([3], SITES[1], -6.5), record([11], SITES[0], -6.0)]
    paths = [archive_of(tmp_path / "a.h5", first), archive_of(tmp_path / "b.h5", second)]
    with Archive(paths[0]) as a, Archive(paths[1]) as b:
        found = tables.compare(a, b)
    assert found.guests.tolist() == ["Li=1", "Mg=1"] and found.match.tolist() == [True, False]
    assert found.task_second.tolist() == [1, 0]


def test_what_cannot_be_compared(tmp_path):
    twice = [record([3], SITES[0], -7.0), record([3], SITES[0], -7.1)]
    paths = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    archive_of(paths[0], twice)
    archive_of(paths[1], [record([3], SITES[0], -6.0)])
    write_result(paths[2], [replace(make_record(3), task_id=task_id(99))], WEIGHTS)  # failed
    with Archive(paths[0]) as a, Archive(paths[1]) as b, Archive(paths[2]) as c:
        with pytest.raises(InputError, match="several tasks have one host and guests"):
            tables.compare(b, a)
        with pytest.raises(InputError, match="no task in common"):
            tables.compare(b, c)
        assert tables.best(c).empty and tables.candidates(c).empty
        with pytest.raises(InputError, match="none of its tasks"):
            tables.hull(c)
