"""What is written comes back bit for bit, and what a result may not hold is not written."""

import json
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest
from made_up_results import WEIGHTS, make_host, make_record, make_results, same, task_id, with_columns, write_units

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord, host_id
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import check_record, write_result


@pytest.fixture
def records():
    return [make_record(number) for number in range(40)]


@pytest.mark.parametrize("newest", [False, True])
def test_records_come_back_bit_for_bit(tmp_path, newest):
    records = [make_record(number, newest=newest) for number in range(40)]
    path = tmp_path / "folder" / "shard-000000.h5"
    size = write_result(path, records, WEIGHTS)
    assert size == path.stat().st_size
    with Archive(path) as archive:
        again = list(archive.iter_records())
        assert all(same(old, new) for old, new in zip(records, again, strict=True))
        assert same(archive.record(17), records[17])
        assert archive.attributes["schema_version"] == ("1.4" if newest else "1.2")
        assert [r.task_id for r in archive.iter_records([30, 2, 9])] == [task_id(k) for k in (2, 9, 30)]
    assert verify(path) == []
    assert list(path.parent.iterdir()) == [path]
    statuses = {record.status for record in again}
    assert statuses == {"done", "failed"}
    assert any(np.isnan(record.samples["min_distance"]).any() for record in again)


def test_one_host_is_stored_once(tmp_path, records):
    write_result(tmp_path / "a.h5", records)
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file["hosts/id"]) == 14 == len({record.host_id for record in records})


def test_any_h5py_reads_it(tmp_path, records):
    """Nothing but plain datasets, text and attributes."""
    write_result(tmp_path / "a.h5", records, {**WEIGHTS, "configuration": {"guests": ["Li"]}, "seed": 3, "none": None})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["schema_version"] == "1.2"  # nothing in it is newer
        assert json.loads(file.attrs["configuration"]) == {"guests": ["Li"]}
        assert file.attrs["weights_sha256"] == WEIGHTS["weights_sha256"]
        assert "none" not in file.attrs
        assert file["hosts/name"].asstr()[0] == "mp-0 Ω"
        assert file["tasks/status"].asstr()[3] == "failed"
        assert file["candidates/energy_per_atom_eV"].attrs["unit"] == b"eV/atom"
        start, stop = file["tasks/sample_offsets"][5:7]
        atoms = file["samples/guest_offsets"]
        mine = file["samples/guest_frac_coords"][atoms[start] : atoms[stop]]
        assert np.array_equal(mine, records[5].samples["guest_frac_coords"].reshape(-1, 3), equal_nan=True)
        large = [item for table in file.values() for item in table.values() if item.nbytes >= 4096]
        assert large
        assert all((item.compression, item.fletcher32) == ("gzip", True) for item in large)
        assert all(item.shuffle for item in large if item.dtype.kind != "S")


def test_attributes_of_any_size(tmp_path):
    configuration = {"hosts": [f"hosts/{k:06d}.cif" for k in range(20_000)]}
    write_result(tmp_path / "a.h5", [make_record(0)], {"configuration": configuration, "text": "{not JSON", "n": 2})
    with Archive(tmp_path / "a.h5") as archive:
        assert archive.attributes["configuration"] == configuration
        assert archive.attributes["text"] == "{not JSON"
        assert (archive.attributes["n"], archive.attributes["n_tasks"]) == (2, 1)


def test_a_small_unit_is_a_small_file(tmp_path):
    assert write_result(tmp_path / "a.h5", [make_record(0)], WEIGHTS) < 60_000


def test_relaxed_candidates(tmp_path):
    """Columns of relaxation appear only where a task has them, and are absent from the others."""
    plain, frozen = make_record(0), make_record(1)
    c = frozen.candidates
    rng = np.random.default_rng(0)
    only_guests = with_columns(
        c,
        relaxed_energy_per_atom=c["energy_per_atom"] - 1.0,
        relaxed_max_force=np.full(len(c), 0.04),
        relaxed_guest_frac_coords=rng.random(c["guest_frac_coords"].shape),
    )
    everything = with_columns(
        only_guests,
        relaxed_max_guest_force=np.full(len(c), 0.01),
        relaxation=("converged", "diverged", "unfinished")[: len(c)],
        relaxed_steps=np.array([7, 3, 500])[: len(c)],
        placements=np.array([3, 1, 1])[: len(c)],
        error=["", "not relaxed: two atoms are 0.4 A apart", ""][: len(c)],
        relaxed_host_frac_coords=rng.random((len(c), len(frozen.host), 3)),
        relaxed_lattice=frozen.host.lattice + rng.normal(size=(len(c), 3, 3)),
    )
    everything[1].relaxed.guest_frac_coords[:] = np.nan  # one did not converge
    records = [
        plain,
        replace(frozen, candidates=only_guests),
        replace(frozen, candidates=everything, task_id=task_id(99)),
    ]
    write_result(tmp_path / "a.h5", records)
    assert verify(tmp_path / "a.h5") == []
    with Archive(tmp_path / "a.h5") as archive:
        assert all(same(old, new) for old, new in zip(records, archive.iter_records(), strict=True))
        relaxed = archive.crystal(2, 0, relaxed=True)
        assert np.array_equal(relaxed.lattice, everything[0].relaxed.lattice)
        assert np.array_equal(relaxed.frac_coords[: len(frozen.host)], everything[0].relaxed.host_frac_coords)
        assert np.array_equal(archive.crystal(1, 0, relaxed=True).lattice, frozen.host.lattice)
        assert "relaxed_energy_per_atom_eV" in archive.candidates(1)


def test_strange_texts(tmp_path):
    """Long ones are cut, what cannot be stored is replaced, the rest stays as it is."""
    record = make_record(
        3, error="line one\nline two " + "x" * 5000, traceback="start " + "y" * 30_000 + " end\udcff", worker="a\0b"
    )
    record = replace(record, notes=("z" * 10_000,))
    write_result(tmp_path / "a.h5", [record])
    with Archive(tmp_path / "a.h5") as archive:
        again = archive.record(0)
    assert again.error.startswith("line one line two xxx")
    assert len(again.error) == 1000
    assert again.traceback.endswith("y end\\udcff")
    assert len(again.traceback) < 21_000
    assert (again.worker, len(again.notes[0])) == ("ab", 4000)


def test_info_is_plain_json(tmp_path):
    info = {"array": np.arange(3), "float": np.float32(1.5), "nan": np.nan, "set": {1}, "object": 1j, "flag": np.True_}
    host = replace(make_host(1), info=info)
    write_result(tmp_path / "a.h5", [make_record(1, host=host)])
    with Archive(tmp_path / "a.h5") as archive:
        expected = {"array": [0, 1, 2], "float": 1.5, "nan": None, "set": [1], "object": "1j", "flag": True}
        assert archive.record(0).host.info == expected


def test_empty_host(tmp_path):
    """All-atom generation: no host atoms, no sites."""
    rng = np.random.default_rng(5)
    found = make_results(rng, 2, 4)
    found["candidates"] = [replace(one, multiplicity=(), wyckoff=()) for one in found["candidates"]]
    host = host_without_atoms()
    record = TaskRecord(task_id(1), host, (3, 8), 4, **found)
    write_result(tmp_path / "a.h5", [record, make_record(2)])
    assert verify(tmp_path / "a.h5") == []
    with Archive(tmp_path / "a.h5") as archive:
        assert same(archive.record(0), record)
        assert archive.hosts().formula[0] == ""
        assert archive.record(0).candidates[0].wyckoff == ("", "")


def host_without_atoms():
    return replace(make_host(0), numbers=np.zeros(0), frac_coords=np.zeros((0, 3)))


def test_host_id_is_of_the_content():
    host = make_host(3)
    assert host_id(host) == host_id(replace(host, name="other", info={}))
    assert host_id(host) == host_id(replace(host, frac_coords=host.frac_coords + 0.0))
    moved = host.frac_coords.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], 2.0)
    assert host_id(host) != host_id(replace(host, frac_coords=moved))


def changed(part, name, row, value):
    """A record of which one number is something else; rows of samples count the valid ones."""
    record = make_record(1)
    rows = list(getattr(record, part))
    row = np.flatnonzero(record.samples["valid"])[row] if part == "samples" else row
    value = np.full((len(record.guests), 3), value) if name == "guest_frac_coords" else value
    value = (value,) * len(record.guests) if name == "multiplicity" else value
    rows[row] = replace(rows[row], **{name: value})
    return replace(record, **{part: rows})


@pytest.mark.parametrize(
    ("part", "name", "row", "value", "match"),
    [
        ("samples", "guest_frac_coords", 0, 1.0, r"sample \d+ has guest_frac_coords outside \[0, 1\)"),
        ("samples", "guest_frac_coords", 0, -1e-9, r"coords outside"),
        ("samples", "guest_frac_coords", 0, np.nan, "coordinate that is not a number, though it is valid"),
        ("samples", "guest_frac_coords", 0, np.inf, "coords outside"),
        ("samples", "min_distance", 0, np.nan, "no smallest distance"),
        ("samples", "candidate", 0, 17, "candidate that does not exist"),
        ("samples", "index", 1, 105, "index that another sample of the task has"),
        ("samples", "index", 0, -5, "index below 0"),
        ("samples", "valid", 0, False, "no reason, though it is not valid"),
        ("candidates", "guest_frac_coords", 1, np.nan, "candidate 1 has guest_frac_coords outside"),
        ("candidates", "energy_per_atom", 0, np.inf, "energy_per_atom_eV that is infinite"),
        ("candidates", "max_force", 0, -1.0, "max_force_eV_per_A that is negative"),
        ("candidates", "agreement", 0, 1.5, "agreement outside"),
        ("candidates", "agreement", 0, np.nan, "agreement outside"),
        ("candidates", "rank", 0, 1, "rank out of order"),
        ("candidates", "members", 0, (100,) * 99, "count that is not the number of its samples"),
        ("candidates", "sample", 0, 4000, "sample that does not exist"),
        ("candidates", "multiplicity", 0, -1, "multiplicity below 0"),
    ],
)
def test_impossible_values_are_not_written(tmp_path, part, name, row, value, match):
    record = changed(part, name, row, value)
    with pytest.raises(ValueError, match=match) as caught:
        check_record(record)
    assert f"task {record.task_id[:12]}" in str(caught.value)
    with pytest.raises(ValueError, match=match):
        write_result(tmp_path / "a.h5", [make_record(0), record])
    assert list(tmp_path.iterdir()) == []
    check_record(make_record(1))


@pytest.mark.parametrize(
    ("outcome", "changes", "match"),
    [
        ("melted", {}, "relaxation that is unknown"),
        ("converged", {"relaxed_energy_per_atom": np.nan}, "sound relaxation without an energy"),
        ("diverged", {}, "diverged without an error"),
        ("converged", {"relaxed_steps": -1}, "relaxed_steps below 0"),
        ("converged", {"relaxed_max_guest_force": -1.0}, "relaxed_max_guest_force_eV_per_A that is negative"),
    ],
)
def test_impossible_relaxations_are_not_written(outcome, changes, match):
    record = make_record(1)
    n = len(record.candidates)
    columns = {"relaxed_energy_per_atom": -1.0, "relaxed_steps": 3, "relaxed_max_guest_force": 0.01}
    columns = {name: [value] * n for name, value in {**columns, **changes}.items()}
    fine = with_columns(
        record.candidates, relaxation=["converged"] * n, **columns | {"relaxed_energy_per_atom": [-1.0] * n}
    )
    if not changes:
        check_record(replace(record, candidates=fine))
    with pytest.raises(ValueError, match=match):
        check_record(replace(record, candidates=with_columns(fine, relaxation=[outcome] * n, **columns)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"guests": ()}, r"must have shape \(0, 3\)"),
        ({"task_id": "abc"}, "64 lower-case hexadecimal"),
        ({"status": "lost"}, "status must be one of done, failed"),
        ({"status": "failed"}, "a failed task needs an error"),
        ({"error": "but done"}, "only a failed one has it"),
        ({"reference_frac_coords": np.zeros((7, 3))}, "7 references"),
    ],
)
def test_records_that_contradict_themselves(changes, match):
    with pytest.raises(ValueError, match=match):
        check_record(make_record(1, **changes))


def test_other_records_that_are_refused(tmp_path):
    bad_host = replace(make_host(0), numbers=np.full(len(make_host(0)), 119))
    for records, match in (
        ([], "no records"),
        ([make_record(0), make_record(0)], "id that another task has"),
        ([make_record(1, host=bad_host)], r"numbers outside \[1, 118\]"),
        ([make_record(1, host_id="0" * 64)], "not the sha256 of its content"),
        ([make_record(3, attempts=0)], "attempts below 1"),
        ([make_record(1, seconds={"sample": -1.0})], "seconds_sample that are negative"),
        ([make_record(1, seconds={"Not a word": 1.0})], "lower-case word"),
        ([make_record(1, host=replace(make_host(0), lattice=np.zeros((3, 3))))], "lattice that is flat"),
    ):
        with pytest.raises(ValueError, match=match):
            write_result(tmp_path / "a.h5", records)
    assert list(tmp_path.iterdir()) == []


def test_shapes_that_do_not_fit():
    record = make_record(1)
    with pytest.raises(ValueError, match="guest_frac_coords must have shape"):
        check_record(replace(record, samples=[replace(record.samples[0], guest_frac_coords=np.zeros((9, 3)))]))
    with pytest.raises(ValueError, match="wyckoff must have shape"):
        check_record(replace(record, candidates=[replace(record.candidates[0], wyckoff=("8a",) * 9)]))


def test_structures(tmp_path):
    paths = write_units(tmp_path, 12, 12)
    with Archive(paths[0]) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = archive.record(1)
        crystal = archive.crystal(1, rank=1)
        n = len(record.host)
        assert crystal.numbers.tolist() == [*record.host.numbers, *record.guests]
        assert crystal.frac_coords[:n].tobytes() == record.host.frac_coords.tobytes()
        assert crystal.frac_coords[n:].tobytes() == record.candidates[1].guest_frac_coords.tobytes()
        structure, atoms = archive.structure(1, rank=1), archive.atoms(1, rank=1)
        assert np.allclose(structure.lattice.matrix, record.host.lattice, atol=0)
        assert [site.specie.Z for site in structure] == crystal.numbers.tolist()
        assert atoms.numbers.tolist() == crystal.numbers.tolist()
        assert np.allclose(atoms.positions, crystal.positions)
