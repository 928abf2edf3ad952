"""Electrode pairs made from filled crystals."""

import numpy as np
import pytest
from click.testing import CliRunner
from example_hosts import SPINEL

from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import hash_order, read_electrodes
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.errors import InputError
from inpaint_hpc.training.electrode_pairs import PairReport, candidates, deintercalated_pairs

SITES_8A = np.array([[0.125] * 3, [0.875] * 3])
FILLED = SPINEL.with_guests([3, 3], SITES_8A)


def ions_first(crystal, ion, name="filled"):
    order = np.argsort(crystal.numbers != ion, kind="stable")
    return Crystal(crystal.numbers[order], crystal.frac_coords[order], crystal.lattice, name)


def test_a_pair_is_the_host_relaxed_without_its_ions():
    report = PairReport()
    (pair,) = deintercalated_pairs([(ions_first(FILLED, 3), 3)], steps=12, report=report)
    assert (report.made, report.diverged, report.changed) == (1, 0, 0)
    assert (pair.name, pair.guest_z, pair.n_guest) == ("filled", 3, 2)
    assert pair.reference.numbers.tolist() == [*pair.host.numbers.tolist(), 3, 3] and 3 not in pair.host.numbers
    np.testing.assert_allclose(np.sort(pair.reference.frac_coords[-2:], axis=0), np.sort(SITES_8A, axis=0), atol=1e-6)
    # It relaxed, and did not drift.
    assert not np.allclose(pair.host.lattice, pair.reference.lattice, atol=1e-3)
    shift = pair.host.frac_coords - pair.reference.frac_coords[:-2]
    assert np.abs((shift - np.round(shift)).mean(axis=0)).max() < 1e-6
    assert 0.0 <= pair.info["host_rms_displacement"] < 0.5 and abs(pair.info["volume_change_percent"]) < 30.0


def test_what_becomes_another_framework_is_left_out(monkeypatch):
    monkeypatch.setattr("inpaint_hpc.training.electrode_pairs.MOST_DISPLACEMENT", 1e-9)
    report = PairReport()
    assert deintercalated_pairs([(FILLED, 3)], steps=3, report=report) == [] and report.changed == 1
    with pytest.raises(InputError, match="no host is left"):
        deintercalated_pairs([(SPINEL, 3)])


def test_crystals_that_could_be_electrodes():
    lattice = np.eye(3) * 6.0
    coords = np.linspace(0, 0.9, 4)[:, None] * np.ones(3)

    def crystal(*numbers, name="x"):
        return Crystal(np.array(numbers), coords[: len(numbers)], lattice, name)

    good, two, no_metal, no_anion, too_full = (
        crystal(3, 25, 8, 8, name="good"), crystal(3, 11, 25, 8), crystal(3, 14, 8, 8), crystal(3, 25, 26),
        crystal(3, 3, 3, 8),
    )  # fmt: skip
    assert list(candidates([good, two, no_metal, no_anion, too_full], 4)) == [(good, 3)]
    assert list(candidates([good], 3)) == []
    names = [crystal(3, 25, 8, 8, name=str(k)) for k in range(20)]
    order, turned = (
        [c.name for c, _ in hash_order(candidates(some, 4), lambda found: found[0].name)]
        for some in (names, names[::-1])
    )
    assert order == turned and order != sorted(order, key=int) and hash_order(names)[0].name == order[0]


def test_the_command(tmp_path):
    crystals = [ions_first(FILLED, 3, f"c{k}") for k in range(2)]
    write_packed(tmp_path / "filled.h5", crystals, split=[0, 1])
    out = tmp_path / "pairs.h5"
    line = ["pairs", str(tmp_path / "filled.h5"), "--out", str(out), "--steps", "2"]
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, result.output
    assert [pair.name for pair in read_electrodes(out)] == ["c0"]  # validation crystals are left alone
    again = CliRunner().invoke(cli, line)
    assert again.exit_code == 2 and "exists already; add --overwrite" in again.output
    more = [
        "pairs",
        str(tmp_path / "filled.h5"),
        "--out",
        str(tmp_path / "two.h5"),
        "--steps",
        "2",
        "--include",
        str(out),
    ]
    assert CliRunner().invoke(cli, more).exit_code == 0
    assert [pair.name for pair in read_electrodes(tmp_path / "two.h5")] == ["c0", "c0"]
    wrong = CliRunner().invoke(cli, [*line, "--overwrite", "--without", "nothing"])
    assert wrong.exit_code == 2 and "has no column 'nothing'" in wrong.output
