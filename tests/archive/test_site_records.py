"""Site networks in result files and archives."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from example_hosts import MNO2
from made_up_results import WEIGHTS, make_record, same, task_id

from inpaint_hpc import read_hosts
from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.columns import from_records
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.row_table import Rows
from inpaint_hpc.archive.rows import Site
from inpaint_hpc.archive.site_records import sites_of_networks
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import check_record, write_result
from inpaint_hpc.campaign.task_records import done_record, with_error
from inpaint_hpc.campaign.task_tables import CampaignTask
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.sites.clustering import network_from_positions


@pytest.fixture(scope="module")
def spinel():
    return read_hosts([MNO2 / "lambda_mp-25275.cif"])[0]


@pytest.fixture(scope="module")
def networks(spinel):
    """Of Li and Na in lambda-MnO2, with one energy."""
    lithium = network_from_positions(spinel, 3, [[0.125] * 3] * 3 + [[0.0] * 3], saturated=True)
    first = replace(lithium.orbits[0], energy=-101.9, shift=0.01, settles_on=0)
    return [
        replace(lithium, orbits=(first, *lithium.orbits[1:])),
        network_from_positions(spinel, 11, [[0.01, 0.0, 0.0]]),
    ]


@pytest.fixture
def records(spinel, networks):
    """Tasks without sites, with two networks, and a failed one."""
    with_sites = make_record(5, host=spinel, sites=sites_of_networks(networks))
    return [make_record(0), with_sites, make_record(3), make_record(6, sites=sites_of_networks(networks[1:]))]


def test_networks_come_back(tmp_path, records, networks):
    write_result(tmp_path / "a.h5", records, WEIGHTS)
    assert verify(tmp_path / "a.h5") == []
    with Archive(tmp_path / "a.h5") as archive:
        assert archive.attributes["n_sites"] == 4
        assert all(same(old, new) for old, new in zip(records, archive.iter_records(), strict=True))
        again = archive.site_networks(1)
        assert archive.site_networks(0) == []
    for old, new in zip(networks, again, strict=True):
        assert (old.number, old.samples, old.saturated, old.symprec) == (
            new.number,
            new.samples,
            new.saturated,
            new.symprec,
        )
        assert np.array_equal(old.frac_coords, new.frac_coords) and np.array_equal(old.rotations, new.rotations)
        assert np.array_equal(old.permutations, new.permutations)
        for one, other in zip(old.orbits, new.orbits, strict=True):
            assert replace(one, frac_coords=0, energy=0, shift=0) == replace(other, frac_coords=0, energy=0, shift=0)
            assert same(np.array([one.energy, one.shift]), np.array([other.energy, other.shift]))


def test_the_table_of_sites(tmp_path, records):
    write_result(tmp_path / "a.h5", records)
    with Archive(tmp_path / "a.h5") as archive:
        table = archive.sites()
        assert list(table["task"]) == [1, 1, 1, 3]
        assert list(table["wyckoff"]) == ["8a", "16c", "16c", "16c"]
        assert list(table["multiplicity"]) == [2, 4, 4, 4] and list(table["ion"]) == [3, 3, 11, 11]
        assert table["energy_eV"][0] == -101.9 and table["energy_eV"][1:].isna().all()
        assert table["saturated"].tolist() == [True, True, False, False]
        assert archive.sites(1).equals(table[:3]) and len(archive.sites(0)) == 0


def test_a_file_without_networks_has_no_table(tmp_path):
    write_result(tmp_path / "a.h5", [make_record(0)])
    with h5py.File(tmp_path / "a.h5") as file:
        assert "sites" not in file and "site_offsets" not in file["tasks"] and "n_sites" not in file.attrs
    with Archive(tmp_path / "a.h5") as archive:
        assert len(archive.sites()) == 0 and "wyckoff" in archive.sites().columns
        assert archive.site_networks(0) == []


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_collect_merges_files_with_and_without_sites(tmp_path, records, order):
    """Whichever file comes first, every task keeps its own sites."""
    parts = [[make_record(20), make_record(21)], records, [make_record(22, sites=records[1].sites)]]
    paths = [tmp_path / f"{k}.h5" for k in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_result(path, part, WEIGHTS)
    collect([paths[k] for k in order], tmp_path / "archive.h5")
    assert verify(tmp_path / "archive.h5") == []
    with Archive(tmp_path / "archive.h5") as archive:
        for record in (record for part in parts for record in part):
            assert same(archive.record(record.task_id), record)
        assert len(archive.sites()) == 3 + 1 + 3
    collect([paths[0]], tmp_path / "none.h5")
    assert verify(tmp_path / "none.h5") == []
    # Some tasks of a file only.
    chosen = [task_id(5), task_id(20)]
    collect(paths, tmp_path / "some.h5", expected_task_ids=chosen)
    with Archive(tmp_path / "some.h5") as archive:
        assert len(archive) == 2 and len(archive.sites()) == 3 and same(archive.record(task_id(5)), records[1])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("occupancy", 1.5, "occupancy outside"),
        ("energy", np.inf, "energy_eV that is infinite"),
        ("shift", -1.0, "shift_A that is negative"),
        ("settles_on", 2, "settles on no orbit"),
        ("orbit", 1, "an orbit out of order"),
        ("ion", 200, "ion outside"),
        ("saturated", 3, "saturated that is neither"),
        ("spread", np.nan, "spread_A that is negative or no number"),
        ("positions", -1, "positions below 0"),
        ("frac_coords", 1.0, "frac_coords outside"),
    ],
)
def test_impossible_sites_are_not_written(records, name, value, message):
    first, *others = records[1].sites
    value = np.full((2, 3), value) if name == "frac_coords" else value
    broken = replace(records[1], sites=[replace(first, **{name: value}), *others])
    with pytest.raises(ValueError, match=message):
        check_record(broken)
    check_record(records[1])


def test_a_missing_half_is_damage(tmp_path, records):
    write_result(tmp_path / "a.h5", records)
    for name in ("sites", "tasks/site_offsets", "sites/wyckoff"):
        path = tmp_path / "b.h5"
        path.write_bytes((tmp_path / "a.h5").read_bytes())
        with h5py.File(path, "a") as file:
            del file[name]
        with pytest.raises(InputError, match="is missing"):
            Archive(path, verify=False)


def test_rows_must_fit_together(records):
    block = from_records(records)
    assert block["tasks"]["site_offsets"].tolist() == [0, 0, 3, 3, 4]


def test_a_result_of_the_pipeline_brings_its_networks(spinel, networks):
    result = InpaintResult(spinel, (3,), (), 0, 0, networks=tuple(networks[:1]))
    task = CampaignTask(0, task_id(9), spinel, (3,), 4, 1.0)
    record = done_record(task, result, "here")
    assert same(record.sites, Rows.of(Site, sites_of_networks(networks[:1]), {})) and len(record.sites) == 2
    assert len(with_error(record, "kaputt").sites) == 0
    check_record(record)
    assert len(done_record(task, replace(result, networks=()), "here").sites) == 0
