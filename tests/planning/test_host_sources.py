"""Tables of hosts and where they come from."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_hosts import random_crystal

from inpaint_hpc.archive.records import host_id
from inpaint_hpc.campaign.config import HostSource
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import check_crystal
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.errors import InputError
from inpaint_hpc.planning.host_sources import Excluded, column_of, read_sources
from inpaint_hpc.planning.host_table import HostTable
from inpaint_hpc.sampling.contact_distances import packing_fraction
from inpaint_hpc.sampling.minimum_image import PeriodicCell


@pytest.fixture
def crystals():
    rng = np.random.default_rng(1)
    return [
        replace(random_crystal(rng, name=f"c{k}", numbers=(3, 8, 16, 25)), info={"n": k, "label": f"l{k % 2}"})
        for k in range(30)
    ]


def read(source, excluded=None):
    tables = list(read_sources([HostSource.model_validate(source)], excluded or Excluded()))
    return [table[row] for table in tables for row in range(len(table))]


def test_a_table_gives_back_what_went_in_bit_for_bit(crystals):
    table = HostTable.from_crystals(crystals)
    for row, crystal in enumerate(crystals):
        back = table[row]
        assert np.array_equal(back.frac_coords, crystal.frac_coords) and np.array_equal(back.lattice, crystal.lattice)
        assert np.array_equal(back.numbers, crystal.numbers) and back.name == crystal.name
        assert back.info == crystal.info
    assert [digest.hex() for digest in table.digests()] == [host_id(crystal) for crystal in crystals]


def test_minus_zero_and_zero_are_the_same_content():
    one = Crystal([8, 25], [[0.0, 0, 0], [0.5, 0.5, 0.5]], 4 * np.eye(3))
    other = Crystal([8, 25], [[-0.0, 0, 0], [0.5, 0.5, 0.5]], 4 * np.eye(3) * -1 * -1)
    assert len(set(HostTable.from_crystals([one, other]).digests())) == 1


def test_take_and_without(crystals):
    table = HostTable.from_crystals(crystals)
    chosen = table.take(np.array([7, 3]))
    assert chosen.names == ["c7", "c3"] and chosen.columns["n"].tolist() == [7, 3]
    emptied = chosen.without(25)
    for row, name in enumerate((7, 3)):
        expected = crystals[name].without(25)
        assert np.array_equal(emptied[row].frac_coords, expected.frac_coords)
        assert np.array_equal(emptied[row].numbers, expected.numbers)


def test_geometry_agrees_with_the_slow_way(crystals):
    sheared = [
        replace(c, lattice=np.array([[1, 0, 0], [k - 3, 1, 0], [3, 1 - k, 1]]) @ c.lattice)
        for k, c in enumerate(crystals[:7])
    ]
    all_of_them = crystals + sheared
    table = HostTable.from_crystals(all_of_them)
    for row, crystal in enumerate(all_of_them):
        assert table.volumes[row] == pytest.approx(crystal.volume)
        assert table.shortest[row] == pytest.approx(PeriodicCell(crystal.lattice).shortest)
        assert table.contact_volumes[row] / crystal.volume == pytest.approx(
            packing_fraction(crystal.numbers, crystal.volume)
        )
        heights = 1.0 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)
        assert table.widths[row] == pytest.approx(heights)
        assert table.count(25)[row] == (crystal.numbers == 25).sum()


def test_the_anion_is_the_most_electronegative_element():
    numbers = [[3, 8], [25, 16], [8, 9, 3], [26, 28], [25, 16, 8]]
    crystals = [Crystal(z, np.linspace(0, 0.6, 3 * len(z)).reshape(-1, 3), 9 * np.eye(3)) for z in numbers]
    assert HostTable.from_crystals(crystals).anions().tolist() == [8, 16, 9, 28, 8]


def test_suspicious_hosts_are_all_that_the_check_refuses():
    rng = np.random.default_rng(2)
    crystals = []
    for k in range(400):
        crystal = random_crystal(rng, name=str(k))
        frac = crystal.frac_coords.copy()
        if k % 2:
            # Move one atom near another, also across the border of the cell, at 0 to 1 A.
            i, j = rng.permutation(len(frac))[:2]
            shift = rng.standard_normal(3)
            shift *= rng.random() / np.linalg.norm(shift)
            frac[i] = frac[j] + shift @ np.linalg.inv(crystal.lattice) + rng.integers(-2, 3, 3)
        crystals.append(replace(crystal, frac_coords=frac))
    a, b = crystals[0], crystals[2]
    crystals += [
        replace(a, frac_coords=a.frac_coords + np.nan),
        replace(a, lattice=a.lattice * np.nan),
        replace(a, lattice=a.lattice * 0.05),
        replace(a, numbers=np.where(np.arange(len(a)) == 0, 95, a.numbers)),
        replace(b, lattice=np.array([[1, 0, 0], [9, 1, 0], [0, 11, 1]]) @ b.lattice),
        Crystal([25], [[0, 0, 0]], np.diag([0.4, 5.0, 5.0])),
    ]
    suspicious = set(HostTable.from_crystals(crystals).suspicious().tolist())
    refused = set()
    for row, crystal in enumerate(crystals):
        try:
            check_crystal(crystal)
        except InputError:
            refused.add(row)
    assert refused <= suspicious
    assert 40 < len(refused) < 250
    assert len(suspicious - refused) <= 3  # only thin cells are looked at for nothing


def test_packed_files_and_single_files_give_the_same_hosts(tmp_path, crystals):
    write_packed(tmp_path / "hosts.h5", crystals)
    from_packed = read(str(tmp_path / "hosts.h5"))
    assert [c.name for c in from_packed] == [c.name for c in crystals]
    assert np.allclose(from_packed[5].frac_coords, crystals[5].frac_coords, atol=1e-6)
    assert from_packed[5].info == {"n": 5, "label": "l1"}
    for crystal in from_packed[:3]:
        crystal.to_structure().to(str(tmp_path / f"{crystal.name}.cif"))
    from_files = read(str(tmp_path / "*.cif"))
    assert [c.name for c in from_files] == ["c0", "c1", "c2"]
    assert [c.volume for c in from_files] == pytest.approx([c.volume for c in crystals[:3]], rel=1e-4)
    assert [sorted(c.numbers) for c in from_files] == [sorted(c.numbers) for c in crystals[:3]]


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({"atoms": "5..12"}, lambda c: 5 <= len(c) <= 12),
        ({"atoms": 8}, lambda c: len(c) == 8),
        ({"elements": {"include": ["Li", "O"]}}, lambda c: {3, 8} <= set(c.numbers)),
        ({"elements": {"exclude": "Li"}}, lambda c: 3 not in c.numbers),
        ({"anion": "O"}, lambda c: 8 in c.numbers),
        ({"anion": ["S", "Mn"]}, lambda c: 8 not in c.numbers),
        ({"where": {"n": "3..7"}}, lambda c: 3 <= c.info["n"] <= 7),
        ({"where": {"label": "l0", "n": [1, 2, 4]}}, lambda c: c.info["n"] in (2, 4)),
        ({"select": "10:20"}, lambda c: 10 <= c.info["n"] < 20),
        ({"limit": 4}, lambda c: c.info["n"] < 4),
        ({"atoms": "9..", "limit": 2}, None),
    ],
)
def test_filters(tmp_path, crystals, filters, keep):
    write_packed(tmp_path / "hosts.h5", crystals)
    found = [c.name for c in read({"path": str(tmp_path / "hosts.h5"), **filters})]
    if keep is None:
        assert found == [c.name for c in crystals if len(c) >= 9][:2]
    else:
        expected = [c.name for c in crystals if keep(c)]
        assert found == expected
        assert 0 < len(expected) < len(crystals)


def test_splits_prefixes_and_names_met_again(tmp_path, crystals):
    write_packed(tmp_path / "a.h5", crystals[:4], split=[0, 1, 1, 2])
    assert [c.name for c in read({"path": str(tmp_path / "a.h5"), "split": "val"})] == ["c1", "c2"]
    sources = [HostSource(path=str(tmp_path / "a.h5"))] * 2
    names = [name for table in read_sources(sources, Excluded()) for name in table.names]
    assert names == ["c0", "c1", "c2", "c3", "c0-2", "c1-2", "c2-2", "c3-2"]


def test_examples_come_with_the_package():
    assert "lambda_mp-25275" in [c.name for c in read({"examples": "mno2"})]


def test_bad_hosts_stop_or_are_counted(tmp_path, crystals):
    bad = replace(crystals[0], name="bad", frac_coords=crystals[0].frac_coords * 0)
    write_packed(tmp_path / "hosts.h5", [crystals[1], bad])
    (tmp_path / "broken.cif").write_text("nonsense")
    with pytest.raises(InputError, match=r"hosts\.h5 \(bad\): atoms .* apart"):
        read(str(tmp_path / "hosts.h5"))
    excluded = Excluded()
    found = [c.name for c in read({"path": str(tmp_path), "skip_bad": True}, excluded)]
    assert found == ["c1"]
    assert excluded.counts == {"hosts that cannot be used": 2}
    assert "broken.cif" in excluded.examples["hosts that cannot be used"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "nowhere.h5"}, "no such file or folder"),
        ({"path": "{}/hosts.h5", "where": {"m": 1}}, "no column 'm'; did you mean 'n'?"),
        ({"path": "{}/hosts.h5::3", "select": "4"}, "not both"),
        ({"path": "{}/c0.cif", "split": "val"}, "only packed HDF5 files have a 'split'"),
        ({"path": "{}/c0.cif", "where": {"n": 1}}, "no column 'n'; its file has no columns"),
        ({"path": "{}/hosts.h5", "select": "c999"}, "no crystal with id 'c999'"),
    ],
)
def test_sources_that_make_no_sense(tmp_path, crystals, source, message):
    write_packed(tmp_path / "hosts.h5", crystals)
    crystals[0].to_structure().to(str(tmp_path / "c0.cif"))
    with pytest.raises(InputError) as error:
        read({**source, "path": source["path"].format(tmp_path)})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_column_is_found_by_its_name(crystals):
    assert column_of(HostTable.from_crystals(crystals), "n").tolist() == list(range(30))
