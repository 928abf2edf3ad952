"""Other programs read what is exported, and find the same numbers."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from made_up_results import make_record, task_id, write_units

from inpaint_hpc.archive.export import FORMATS, Selection, export
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.export import FORMATS as CLI_FORMATS
from inpaint_hpc.errors import InputError

N = 15
RECORDS = [make_record(k) for k in range(N)]
WITH = [k for k in range(N) if len(RECORDS[k].candidates)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_units(tmp_path_factory.mktemp("archive"), N, N)[0]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # elements without an electronegativity
        yield


@pytest.mark.parametrize(
    ("format", "suffix", "tolerance"), [("cif", "cif", 1e-9), ("poscar", "vasp", 1e-12), ("json", "json", 1e-14)]
)
def test_one_file_per_structure(path, tmp_path, format, suffix, tolerance):
    from ase.io import read
    from pymatgen.core import Structure

    calls = []
    report = export(path, tmp_path / "out", format, Selection(2), progress=lambda *call: calls.append(call))
    files = sorted((tmp_path / "out").rglob("*.*"))
    shown = sum(min(2, len(record.candidates)) for record in RECORDS)
    assert report.candidates == len(files) == shown
    assert (report.tasks, report.without) == (len(WITH), N - len(WITH))
    assert calls == [(k, N) for k in range(1, N + 1)]
    record = RECORDS[0]
    symbols = {3: "Li", 11: "Na", 12: "Mg"}
    guests = "".join(f"{symbols[z]}{record.guests.count(z)}" for z in dict.fromkeys(record.guests))
    file = tmp_path / "out" / "mp-0_Ω" / f"{guests}-{record.task_id[:10]}-rank-001.{suffix}"
    atoms = Structure.from_file(file).to_ase_atoms() if format == "json" else read(file)
    expected = record.crystal(1)
    assert atoms.numbers.tolist() == expected.numbers.tolist()
    difference = atoms.get_scaled_positions(wrap=False) - expected.frac_coords
    assert np.abs(difference - np.round(difference)).max() <= tolerance


def test_extxyz(path, tmp_path):
    from ase.io import read

    report = export(path, tmp_path / "all.extxyz", "extxyz", Selection(None))
    frames = read(tmp_path / "all.extxyz", ":")
    assert report.candidates == len(frames) == sum(len(record.candidates) for record in RECORDS)
    first, record = frames[0], RECORDS[0]
    assert np.allclose(first.cell, record.host.lattice, atol=1e-12)
    assert np.allclose(first.positions, record.crystal(0).positions, atol=1e-7)
    assert first.arrays["guest"].tolist() == [False] * len(record.host) + [True] * len(record.guests)
    assert first.info["task"] == record.task_id
    assert first.info["energy_per_atom_eV"] == record.candidates[0].energy_per_atom
    unscored = next(frame for frame in frames if frame.info["task"] == task_id(2))
    assert "energy_per_atom_eV" not in unscored.info


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tables(path, tmp_path, format):
    report = export(path, tmp_path / f"table.{format}", format, Selection(2))
    table = pd.read_csv(tmp_path / "table.csv") if format == "csv" else pd.read_parquet(tmp_path / "table.parquet")
    with Archive(path) as archive:
        expected = archive.candidates(per_guest=True).query("rank < 2").reset_index(drop=True)
        tasks = archive.tasks()
    assert len(table) == report.candidates == len(expected)
    assert table.task.tolist() == tasks.id[expected.task].tolist()
    assert table.guests.tolist() == tasks.guests[expected.task].tolist()
    assert table.n_valid.tolist() == tasks.n_valid[expected.task].tolist()
    for name in ("rank", "sample", "count", "agreement", "spread_A", "energy_per_atom_eV", "max_force_eV_per_A"):
        assert np.array_equal(table[name].to_numpy(float), expected[name].to_numpy(float), equal_nan=True), name
    load = json.loads if format == "csv" else lambda value: [np.asarray(row).tolist() for row in value]
    for row in range(len(table)):
        assert load(table.guest_frac_coords[row]) == expected.guest_frac_coords[row].tolist()
        assert tuple(json.loads(table.wyckoff[row]) if format == "csv" else table.wyckoff[row]) == expected.wyckoff[row]


def test_what_is_taken(path, tmp_path):
    def taken(**chosen):
        export(path, tmp_path / "a.csv", "csv", Selection(**chosen))
        return set(pd.read_csv(tmp_path / "a.csv").task)

    assert taken(tasks=[1, task_id(2)[:9]]) == {task_id(1), task_id(2)}
    assert taken(hosts=["mp-[01]*"]) == {task_id(k) for k in WITH if k < 6}
    assert taken(guests=["Li"]) == {task_id(k) for k in WITH if 3 in RECORDS[k].guests}
    assert taken(guests=["Li", "Mg"]) == {task_id(k) for k in WITH if {3, 12} <= set(RECORDS[k].guests)}
    with Archive(path) as archive:
        assert export(archive, tmp_path / "b.csv", "csv", Selection(tasks=[0])).candidates == 1
        assert archive.record(0).task_id == task_id(0)


def test_mistakes(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for out, format, chosen, match in (
        ("a", "xyz", {}, "unknown format 'xyz'; choose one of cif"),
        ("a.csv", "csv", {"top": 0}, "top must be at least 1"),
        (".", "csv", {}, "is a folder; csv goes into one file"),
        ("file", "cif", {}, "is a file; cif goes into a folder"),
        ("a.csv", "csv", {"guests": ["Xx"]}, "unknown element 'Xx'"),
        ("a.csv", "csv", {"guests": ["U"]}, "none of its 15 tasks fits U"),
        ("a.csv", "csv", {"tasks": [3]}, "none of the 1 tasks asked for has a candidate"),
        ("a.extxyz", "extxyz", {"relaxed": True}, "has a relaxed candidate to export"),
        ("a.csv", "csv", {"tasks": ["nope"]}, "no task or host 'nope'"),
    ):
        with pytest.raises(InputError, match=match):
            export(path, tmp_path / out, format, Selection(**chosen))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"parquet needs pyarrow: `pip install pyarrow`, or choose --format csv"):
        export(path, tmp_path / "a.parquet", "parquet")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    assert FORMATS == CLI_FORMATS


def test_an_energy_never_loses_its_kind(tmp_path):
    """The relaxed energy has its own name, and potential and treatment stand beside it."""
    from ase.io import read

    write_result(tmp_path / "a.h5", [make_record(1, newest=True)])
    with Archive(tmp_path / "a.h5") as archive:
        task, count = archive.record(0), len(archive.record(0).candidates)
    assert count and task.provenance.potential == "CHGNet 0.3.0"
    for format in ("csv", "parquet"):
        export(tmp_path / "a.h5", tmp_path / f"a.{format}", format, Selection(None))
        table = pd.read_csv(tmp_path / "a.csv") if format == "csv" else pd.read_parquet(tmp_path / "a.parquet")
        assert table["potential"].tolist() == ["CHGNet 0.3.0"] * count
        assert table["treatment"].tolist() == ["cell"] * count
        assert table["energy_per_guest_eV"].tolist() == [-3.5] * count
        assert table["relaxed_energy_per_guest_eV"].tolist() == [-3.75] * count
    placed = tmp_path / "placed.extxyz"
    export(tmp_path / "a.h5", placed, "extxyz", Selection(None))
    frame = read(placed, ":")[0]
    assert "energy_per_atom_eV" in frame.info and "relaxed_energy_per_atom_eV" not in frame.info
    assert (frame.info["potential"], frame.info["treatment"]) == ("CHGNet 0.3.0", "cell")
