"""Tables, look-ups and laziness of the reader."""

import h5py
import numpy as np
import pytest
from made_up_results import WEIGHTS, changing, make_record, task_id, write_units

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.errors import InputError

N = 30


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_units(tmp_path_factory.mktemp("archive"), N, N)[0]


@pytest.fixture(scope="module")
def records():
    return [make_record(number) for number in range(N)]


@pytest.fixture
def archive(path):
    with Archive(path) as archive:
        yield archive


def test_tasks(archive, records):
    table = archive.tasks()
    assert table.index.name == "task"
    assert table.id.tolist() == [r.task_id for r in records] == archive.task_ids()
    assert table.host.tolist() == [r.host.name for r in records]
    assert table.status.tolist() == [r.status for r in records]
    assert table.n_samples.tolist() == [len(r.samples) for r in records]
    assert table.n_valid.tolist() == [int(r.samples["valid"].sum()) for r in records]
    assert table.n_candidates.tolist() == [len(r.candidates) for r in records]
    assert table.worker.tolist() == [r.worker for r in records]
    assert table.notes[1] == "first note\nsecond, ß"
    for row, record in enumerate(records):
        energies = record.candidates["energy_per_atom"]
        lowest = np.nan if np.isnan(energies).all() else np.nanmin(energies)
        assert table.energy_per_atom_eV[row] == lowest or (np.isnan(lowest) and np.isnan(table.energy_per_atom_eV[row]))
        for stage in ("sample", "score", "relax_all"):
            expected = record.seconds.get(stage, np.nan)
            assert np.array_equal(table[f"seconds_{stage}"][row], expected, equal_nan=True)
    labels = {(3,): "Li=1", (3, 11, 12): "Li=1 Na=1 Mg=1", (11, 11): "Na=2", (3, 3, 12): "Li=2 Mg=1"}
    for row, record in enumerate(records):
        assert table.guests[row] == labels.get(record.guests, table.guests[row])
    assert set(labels.values()) & set(table.guests)


def test_samples(archive, records):
    table = archive.samples()
    assert len(table) == sum(len(r.samples) for r in records)
    assert "guest_frac_coords" not in table
    for row in (0, 4, 7, 29):
        mine, found = table[table.task == row], records[row].samples
        assert mine["index"].tolist() == found["index"].tolist()
        assert mine.valid.dtype == bool
        assert mine.valid.tolist() == found["valid"].tolist()
        assert mine.reason.tolist() == list(found["reason"])
        assert np.array_equal(mine.min_distance_A, found["min_distance"], equal_nan=True)
        assert mine.candidate.tolist() == found["candidate"].tolist()
        one = archive.samples(row)
        assert one.drop(columns="guest_frac_coords").equals(mine.reset_index(drop=True))
        assert np.array_equal(np.stack(one.guest_frac_coords), found["guest_frac_coords"], equal_nan=True)


def test_candidates(archive, records):
    table = archive.candidates()
    assert "wyckoff" not in table
    for row in (0, 1, 2):
        found = records[row].candidates
        one = archive.candidates(task_id(row))
        assert one["rank"].tolist() == found["rank"].tolist()
        assert one.wyckoff.tolist() == list(found["wyckoff"])
        assert one.multiplicity.tolist() == [tuple(values) for values in found["multiplicity"].tolist()]
        assert np.array_equal(np.stack(one.guest_frac_coords), found["guest_frac_coords"])
        for name, values in (("energy_per_atom_eV", found["energy_per_atom"]), ("spread_A", found["spread"])):
            assert np.array_equal(one[name], values, equal_nan=True)
            assert np.array_equal(table.loc[table.task == row, name], values, equal_nan=True)
        assert one.error.tolist() == list(found["error"])
    everything = archive.candidates(per_guest=True)
    assert len(everything) == len(table)
    assert everything.guest_frac_coords[0].shape == (len(records[0].guests), 3)
    assert archive.candidates(4).empty


def test_failures_and_hosts(archive, records):
    failures = archive.failures()
    assert failures.task.tolist() == [3, 10, 17, 24]
    assert failures.id.tolist() == [task_id(k) for k in (3, 10, 17, 24)]
    assert failures.host.tolist() == [records[k].host.name for k in (3, 10, 17, 24)]
    assert set(failures.error) == {"ValueError: kaputt, ü"}
    assert set(failures.attempts) == {2}
    assert failures.traceback[0].startswith("Traceback:")
    hosts = archive.hosts()
    assert hosts.name.tolist() == [f"mp-{k} Ω" for k in range(10)]
    assert hosts.formula.tolist() == [records[3 * k].host.formula for k in range(10)]
    assert np.allclose(hosts.volume_A3, [records[3 * k].host.volume for k in range(10)])
    assert hosts.energy.tolist() == [records[3 * k].host.info["energy"] for k in range(10)]
    assert hosts["flags"][0] == [1, 2]
    assert archive.host(4).frac_coords.tobytes() == records[12].host.frac_coords.tobytes()


def test_tasks_are_found_by_number_id_and_host(archive, path, tmp_path):
    assert archive.number(np.int64(7)) == 7
    for row in range(N):
        assert archive.number(task_id(row)) == archive.number(task_id(row)[:12]) == row
    for task, match in (
        (N, f"no task {N}; it has tasks 0 to {N - 1}"),
        (-1, "no task -1"),
        ("0" * 64, "no task or host '0000"),
        ("mp-0 Ω", "3 tasks fit 'mp-0 Ω'; give the id or the number"),
        ("", "no task or host ''"),
        ("mp-99", "no task or host 'mp-99'"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            archive.number(task)
        assert str(path) in str(caught.value)
    write_result(tmp_path / "a.h5", [make_record(0), make_record(3), make_record(6)], WEIGHTS)
    with Archive(tmp_path / "a.h5") as single:
        assert single.number("mp-2 Ω") == 2


def test_what_is_not_there_says_so(archive, path):
    with pytest.raises(InputError, match="has 3 candidates; there is none of rank 3"):
        archive.structure(0, 3)
    with pytest.raises(InputError, match="has 0 candidates; there is none of rank 0: it failed, ValueError: kaputt"):
        archive.structure(3)
    with pytest.raises(InputError, match="candidate 0 was not relaxed"):
        archive.atoms(0, relaxed=True)
    with pytest.raises(InputError, match="no host 99 among its 10"):
        archive.host(99)
    with pytest.raises(InputError, match="it has tasks 0 to 29, not 5 to 31"):
        list(archive.iter_records([5, 31]))
    archive.close()
    archive.close()
    with pytest.raises(InputError, match="was closed already"):
        archive.record(0)


def test_only_what_is_asked_for_is_read(path, monkeypatch):
    """The candidates of one task do not read those of all others, nor any sample."""
    with Archive(path) as archive:
        rows = []
        plain = h5py.Dataset.__getitem__

        def counting(self, key, *rest, **keywords):
            found = plain(self, key, *rest, **keywords)
            rows.append((self.name, np.size(found)))
            return found

        monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
        archive.candidates(1)
        assert {name.split("/")[1] for name, _ in rows} == {"candidates", "tasks"}
        assert max(size for _, size in rows) < 40


def test_other_files_and_versions(path, tmp_path):
    def refused(target, match):
        with pytest.raises(InputError, match=match) as caught:
            Archive(target)
        assert str(target) in str(caught.value)
        assert "\n" not in str(caught.value)

    def with_version(version):
        target = tmp_path / "other.h5"
        target.write_bytes(path.read_bytes())
        with changing(target) as file:
            file.attrs["schema_version"] = version
        return target

    refused(with_version("2.0"), r"newer inpaint_hpc \(schema 2.0, this one knows 1.4\); upgrade")
    refused(with_version("0.3"), "too old")
    refused(with_version("x"), "schema_version is x; expected 1.4")
    refused(tmp_path / "none.h5", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "the file is empty")
    (tmp_path / "text.h5").write_text("not HDF5")
    refused(tmp_path / "text.h5", "truncated, damaged or another format")
    with h5py.File(tmp_path / "hdf5.h5", "w") as file:
        file["x"] = 1
    refused(tmp_path / "hdf5.h5", "is HDF5, but not a result file or archive of inpaint_hpc")


def test_a_newer_minor_version_is_read(path, tmp_path):
    """Its new columns are passed over."""
    target = tmp_path / "newer.h5"
    target.write_bytes(path.read_bytes())
    with changing(target) as file:
        file.attrs["schema_version"] = "1.7"
        file["samples/of_the_future"] = np.zeros(len(file["samples/index"]))
        file["tasks/also"] = np.zeros(3)
        file["version"] = 1.0
    with Archive(target) as archive:
        assert archive.record(0).task_id == task_id(0)
        assert "of_the_future" not in archive.samples()
        assert len(archive.tasks()) == N
