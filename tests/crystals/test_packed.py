"""The packed format: what goes in comes out, and damaged files say so in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import (
    PackedDataset,
    canonical_reduced_formula,
    is_validation,
    read_electrodes,
    read_packed,
    select_rows,
)
from inpaint_hpc.crystals.packed_writing import write_electrodes, write_packed
from inpaint_hpc.errors import InputError

SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"


@pytest.fixture
def copy(tmp_path):
    """A copy of the fixture that a test may damage."""
    return Path(shutil.copy(SMOKE, tmp_path / "copy.h5"))


def refused(path, match, read=read_packed):
    with pytest.raises(InputError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dataset_agrees_with_plain_h5py():
    dataset = PackedDataset(SMOKE)
    with h5py.File(SMOKE) as file:
        offsets = np.concatenate([[0], np.cumsum(file["n_atoms"][:])])
        assert len(dataset) == len(file["ids"]) == 220
        for i in (0, 57, 219):
            crystal, rows = dataset[i], slice(offsets[i], offsets[i + 1])
            assert crystal.name == file["ids"].asstr()[i]
            assert crystal.numbers.tolist() == file["numbers"][rows].tolist()
            assert np.array_equal(crystal.frac_coords, file["frac_coords"][rows].astype(float))
            assert np.array_equal(crystal.lattice, file["lattice"][i].astype(float))
            assert crystal.info == {"split": int(file["split"][i])}
    assert dataset[-1].name == dataset[219].name
    with pytest.raises(IndexError):
        dataset[220]


def test_splits_and_sizes_partition_the_file():
    parts = {split: PackedDataset(SMOKE, split) for split in ("train", "val", "eval")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 180, "val": 20, "eval": 20}
    assert sorted(name for part in parts.values() for name in part.ids) == sorted(PackedDataset(SMOKE).ids)
    small = PackedDataset(SMOKE, "train", max_atoms=5)
    assert 0 < len(small) < 180
    assert small.n_atoms.max() == 5
    by_name = {crystal.name: crystal for crystal in read_packed(SMOKE)}
    for crystal in small:
        assert np.array_equal(crystal.frac_coords, by_name[crystal.name].frac_coords)
        assert np.array_equal(crystal.numbers, by_name[crystal.name].numbers)


def test_validation_rule_is_the_one_the_file_was_split_by():
    assert canonical_reduced_formula([8] * 8 + [3, 3] + [25] * 4) == "Li1Mn2O4"
    for crystal in read_packed(SMOKE)[:200]:
        assert is_validation(crystal.numbers) == (crystal.info["split"] == 1)


def test_selections():
    ids = PackedDataset(SMOKE).ids

    def names(selection):
        return [crystal.name for crystal in read_packed(SMOKE, selection)]

    assert names("3:6") == ids[3:6]
    assert names("::100") == ids[::100]
    assert names("-2:") == ids[-2:]
    assert names("17") == [ids[17]]
    assert names("-1") == [ids[-1]]
    assert names(ids[9]) == [ids[9]]
    assert names(f"{ids[9]}, {ids[2]}") == [ids[9], ids[2]]
    assert names([ids[9], ids[2]]) == [ids[9], ids[2]]
    assert PackedDataset(SMOKE, ids=[ids[9], ids[2]])[0].name == ids[9]
    for selection, match in (("mp-0", "no crystal with id 'mp-0'"), ("500:", "takes none"), ("220", "rows 0 to 219")):
        refused(SMOKE, match, lambda path, s=selection: read_packed(path, s))


def test_round_trip_keeps_every_crystal_and_column(tmp_path):
    crystals = read_packed(SMOKE)
    crystals[0].info.update(energy=-1.5, label="first", flags=[1, 2])
    path = tmp_path / "deep" / "out.h5"
    assert write_packed(path, crystals, attributes={"licence": "CC BY 4.0"}) == 220
    again = read_packed(path)
    for old, new in zip(crystals, again, strict=True):
        assert new.name == old.name
        assert np.array_equal(new.numbers, old.numbers)
        assert np.array_equal(new.frac_coords, old.frac_coords)
        assert np.array_equal(new.lattice, old.lattice)
        assert new.info["split"] == old.info["split"]
    assert again[0].info["energy"] == -1.5
    assert again[0].info["label"] == "first"
    assert np.isnan(again[1].info["energy"])
    assert again[1].info["label"] == ""
    assert "flags" not in again[0].info
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == "1.0"
        assert file.attrs["licence"] == "CC BY 4.0"
        assert all(file[name].compression == "gzip" for name in file)
        assert file["frac_coords"].shuffle


def test_coordinates_are_wrapped_below_one(tmp_path):
    frac = [[-1e-17, 1.0, -0.25], [0.99999999999, 7.5, 0.0]]
    write_packed(tmp_path / "a.h5", [Crystal([3, 8], frac, np.eye(3) * 4, "x")])
    (crystal,) = read_packed(tmp_path / "a.h5")
    assert crystal.frac_coords.tolist() == [[0.0, 0.0, 0.75], [0.0, 0.5, 0.0]]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    write_packed(path, read_packed(SMOKE, "0:3"))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_packed(path, read_packed(SMOKE, "0:3"), attributes={"bad": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_write_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to write"):
        write_packed(tmp_path / "a.h5", [])
    with pytest.raises(InputError, match="3 crystals but 1 values"):
        write_packed(tmp_path / "a.h5", read_packed(SMOKE, "0:3"), split=[0])
    assert list(tmp_path.iterdir()) == []


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    refused(tmp_path / "none.h5", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "the file is empty")
    (tmp_path / "text.h5").write_text("not HDF5 at all\n" * 100)
    refused(tmp_path / "text.h5", "not readable as HDF5")


def test_file_that_another_program_writes_is_refused(tmp_path):
    """Other programs may write with the new format of HDF5, which marks files that are being written."""
    path = tmp_path / "growing.h5"
    writer = "import h5py, os, sys; file = h5py.File(sys.argv[1], 'w', libver='latest'); file['x'] = 1; file.flush()"
    subprocess.run([sys.executable, "-c", f"{writer}; os._exit(0)", path], check=True)
    refused(path, "another program has it open for writing")


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_refused(copy, fraction):
    copy.write_bytes(SMOKE.read_bytes()[: int(fraction * SMOKE.stat().st_size)])
    refused(copy, "not readable as HDF5; it is truncated")


def test_damaged_bytes_give_one_line_or_the_truth(copy):
    data = SMOKE.read_bytes()
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(40):
        damaged = bytearray(data)
        start = int(rng.integers(0, len(data) - 64))
        damaged[start : start + 64] = rng.integers(0, 256, 64, dtype=np.uint8).tobytes()
        copy.write_bytes(damaged)
        try:
            read_packed(copy)
        except InputError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > 20


@pytest.mark.parametrize("name", ["ids", "n_atoms", "numbers", "frac_coords", "lattice"])
def test_missing_dataset_is_named(copy, name):
    with h5py.File(copy, "a") as file:
        del file[name]
    refused(copy, f"the dataset '{name}' is missing")


def test_counts_that_do_not_add_up(copy):
    with h5py.File(copy, "a") as file:
        file["n_atoms"][3] += 1
    refused(copy, "counts do not add up, dataset 'numbers' has shape")
    with h5py.File(copy, "a") as file:
        file["n_atoms"][3:5] = [-1, file["n_atoms"][3] + file["n_atoms"][4]]
    refused(copy, "counts do not add up")


def test_values_that_cannot_be(copy):
    name = PackedDataset(SMOKE).ids[0]
    for dataset, value, match in (
        ("frac_coords", np.nan, "a coordinate that is not finite"),
        ("lattice", np.inf, "a lattice that is not finite"),
        ("numbers", 0, "an atomic number 0"),
    ):
        shutil.copy(SMOKE, copy)
        with h5py.File(copy, "a") as file:
            file[dataset][0] = value
        refused(copy, rf"crystal '{name}' \(row 0\) has {match}")


def test_schema_versions(copy):
    with h5py.File(copy, "a") as file:
        file.attrs["schema_version"] = "1.7"
    assert len(read_packed(copy)) == 220
    for version, match in (("2.0", "newer inpaint_hpc .schema 2.0"), ("draft", "schema_version is draft")):
        with h5py.File(copy, "a") as file:
            file.attrs["schema_version"] = version
        refused(copy, match)
    with h5py.File(copy, "a") as file:
        del file.attrs["schema_version"]
    refused(copy, "schema_version is missing")


def test_split_is_asked_for_but_absent(copy):
    with h5py.File(copy, "a") as file:
        del file["split"]
    refused(copy, "no dataset 'split'", lambda path: PackedDataset(path, "train"))
    with pytest.raises(InputError, match="unknown split 'test'; choose one of train, val, eval"):
        PackedDataset(SMOKE, "test")


@pytest.fixture
def electrodes(tmp_path):
    """An electrode file of two pairs made of real crystals: the reference is the host and one or two Li more."""
    hosts = read_packed(SMOKE, "40:42")
    guests = [1, 2]
    references = [
        host.with_guests([3] * n, np.full((n, 3), 0.123) * np.arange(1, n + 1)[:, None])
        for host, n in zip(hosts, guests, strict=True)
    ]
    path = tmp_path / "electrodes.h5"
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = "1.0"
        file["ids"] = [f"{host.name}>ref" for host in hosts]
        for prefix, crystals in (("host_", hosts), ("ref_", references)):
            file[prefix + "n_atoms"] = np.array([len(c) for c in crystals], dtype=np.int32)
            file[prefix + "numbers"] = np.concatenate([c.numbers for c in crystals]).astype(np.uint8)
            file[prefix + "frac_coords"] = np.concatenate([c.frac_coords for c in crystals]).astype(np.float32)
            file[prefix + "lattice"] = np.stack([c.lattice for c in crystals]).astype(np.float32)
        for name in ("n_atoms", "numbers", "frac_coords", "lattice"):
            file[name] = file["ref_" + name]
        file["guest_z"] = np.array([3, 3], dtype=np.uint8)
        file["n_guest"] = np.array(guests, dtype=np.int32)
        file["recommended"] = np.array([1, 0], dtype=np.uint8)
        file["average_voltage"] = np.array([1.5, 3.25], dtype=np.float32)
    return path


def test_electrode_pairs(electrodes):
    first, second = read_electrodes(electrodes)
    host = read_packed(SMOKE, "41")[0]
    assert (second.guest_z, second.n_guest) == (3, 2)
    assert np.array_equal(second.host.numbers, host.numbers)
    assert np.array_equal(second.host.lattice, host.lattice)
    assert second.reference.numbers.tolist() == [*host.numbers.tolist(), 3, 3]
    assert first.name.endswith(">ref")
    assert first.info == {"recommended": 1, "average_voltage": 1.5}
    assert [len(c) for c in read_packed(electrodes)] == [len(p.reference) for p in (first, second)]


def test_electrode_pairs_are_written_as_they_are_read(electrodes, tmp_path):
    pairs = read_electrodes(electrodes)
    assert write_electrodes(tmp_path / "pairs.h5", pairs, {"title": "pairs"}) == 2
    for one, other in zip(read_electrodes(tmp_path / "pairs.h5"), pairs, strict=True):
        assert (one.name, one.guest_z, one.n_guest, one.info) == (other.name, other.guest_z, other.n_guest, other.info)
        for crystal, expected in ((one.host, other.host), (one.reference, other.reference)):
            assert np.array_equal(crystal.numbers, expected.numbers)
            assert np.array_equal(crystal.lattice, expected.lattice)
            np.testing.assert_allclose(crystal.frac_coords, expected.frac_coords, atol=1e-7)
    assert [len(c) for c in read_packed(tmp_path / "pairs.h5")] == [len(p.reference) for p in pairs]
    with pytest.raises(InputError, match="no pairs were given"):
        write_electrodes(tmp_path / "none.h5", [])


def test_electrode_files_that_do_not_fit(electrodes):
    refused(SMOKE, "dataset 'host_n_atoms' is missing", read_electrodes)
    with h5py.File(electrodes, "a") as file:
        file["n_guest"][0] = 3
    refused(electrodes, "not the host followed by its 3 guests", read_electrodes)
    with h5py.File(electrodes, "a") as file:
        del file["guest_z"]
    refused(electrodes, "no dataset 'guest_z'", read_electrodes)


BOUND = st.one_of(st.just(""), st.integers(-12, 12).map(str))


@given(n=st.integers(0, 10), bounds=st.lists(BOUND, min_size=2, max_size=3), space=st.sampled_from(["", " "]))
@settings(max_examples=300, deadline=None)
def test_ranges_of_rows_are_those_of_a_list(n, bounds, space):
    text = space + ":".join(bounds) + space
    step = bounds[2] if len(bounds) == 3 else ""
    expected = [] if step and not int(step) else list(range(n))[slice(*(int(b) if b else None for b in bounds))]
    if expected:
        assert select_rows([f"mp-{k}" for k in range(n)], text, "hosts.h5").tolist() == expected
    else:
        with pytest.raises(InputError, match=f"takes none of its {n} crystals"):
            select_rows([f"mp-{k}" for k in range(n)], text, "hosts.h5")


@given(st.integers(0, 6), st.integers(-9, 9))
@settings(max_examples=100, deadline=None)
def test_a_row_is_that_of_a_list(n, row):
    ids = [f"mp-{k}" for k in range(n)]
    if -n <= row < n:
        assert select_rows(ids, str(row), "hosts.h5").tolist() == [range(n)[row]]
    else:
        with pytest.raises(InputError, match=f"no row {row}; it has rows 0 to"):
            select_rows(ids, str(row), "hosts.h5")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_ids_are_found_in_the_order_in_which_they_are_named(data):
    """Ids may look like rows or ranges, and occur twice: the first counts."""
    name = st.one_of(st.from_regex(r"[a-z0-9:-]{1,4}", fullmatch=True), st.sampled_from(["1", "0:2", "-1", "::2"]))
    ids = data.draw(st.lists(name, min_size=1, max_size=8))
    wanted = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=5))
    assert select_rows(ids, wanted, "hosts.h5").tolist() == [ids.index(one) for one in wanted]
    assert select_rows(ids, wanted[0], "hosts.h5").tolist() == [ids.index(wanted[0])]
    if len(wanted) > 1:
        assert select_rows(ids, " , ".join(wanted), "hosts.h5").tolist() == [ids.index(one) for one in wanted]
