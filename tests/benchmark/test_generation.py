"""`inpaint-hpc benchmark generation`: which crystals, what is valid, and going on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_network import save_tiny_weights

from inpaint_hpc.benchmark.generation import chosen_crystals, is_valid
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset, hash_order
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.writing import write_structure

SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"


@pytest.fixture
def run(tmp_path):
    weights = save_tiny_weights(tmp_path).path

    def run(source, *more):
        few = ["--samples", "2", "--steps", "3", "--weights", str(weights)]
        place = ["--out", str(tmp_path / "bm"), "--json", str(tmp_path / "out.json")]
        return CliRunner().invoke(cli, ["benchmark", "generation", str(source), *few, *place, *more])

    return run


def test_crystals_for_training_are_left_out(tmp_path):
    dataset = PackedDataset(SMOKE)
    held_out = [dataset[row] for row in np.flatnonzero(dataset.columns["split"] != 0) if dataset.n_atoms[row] <= 8]
    expected = [crystal.name for crystal in hash_order(held_out)]
    for limit in (None, 3):
        assert [crystal.name for crystal in chosen_crystals([SMOKE], limit, 8)] == expected[:limit]
    plain = [replace(crystal, info={}) for crystal in held_out]
    write_packed(tmp_path / "plain.h5", plain)
    assert [crystal.name for crystal in chosen_crystals([tmp_path / "plain.h5"])] == expected
    write_structure(plain[0], tmp_path / "one.cif", "cif")
    assert [len(crystal) for crystal in chosen_crystals([tmp_path / "one.cif"])] == [len(plain[0])]


def test_atoms_on_each_other_are_not_valid():
    pair = Crystal(np.array([3, 8]), np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]), 4 * np.eye(3), "a")
    assert is_valid(pair)
    assert not is_valid(replace(pair, frac_coords=np.array([[0.0, 0.0, 0.05], [0.0, 0.0, 0.95]])))
    assert not is_valid(replace(pair, lattice=np.diag([4.0, 4.0, 0.4])))


def test_a_table_that_goes_on(run, tmp_path):
    first = run(SMOKE, "--limit", "1")
    assert first.exit_code == 0 and "any of 2" in first.output and "valid" in first.output, first.output
    kept = (tmp_path / "bm" / "hosts.jsonl").read_text()
    assert run(SMOKE, "--limit", "3").exit_code == 0
    assert (tmp_path / "bm" / "hosts.jsonl").read_text().startswith(kept)
    document = json.loads((tmp_path / "out.json").read_text())
    assert [one["host"] for one in document["tasks"]] == [crystal.name for crystal in chosen_crystals([SMOKE], 3)]
    last = list(document["summary"].values())[-1]
    assert last["hosts"] == 3 and last["one_sample"] == pytest.approx(
        np.mean([one["one_sample"] for one in document["tasks"]])
    )
    assert (tmp_path / "bm" / "results" / "table.md").exists()
    chance = run(SMOKE, "--limit", "1", "--random", "--out", str(tmp_path / "random"))
    assert chance.exit_code == 0 and json.loads((tmp_path / "out.json").read_text())["tasks"][0]["valid"] == 1.0
    other = run(SMOKE, "--steps", "4")
    assert other.exit_code == 2 and "is a benchmark with other settings" in other.output


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.h5", b"no HDF5", "not readable as HDF5"),
        ("a.cif", b"data_x\nloop_\n_atom_site_fract_x\n", "a.cif"),
        ("missing.cif", None, "missing.cif"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run(tmp_path / name)
    assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1


def test_a_file_for_training_alone_is_refused(run, tmp_path):
    write_packed(tmp_path / "a.h5", [PackedDataset(SMOKE)[0]], split=[0])
    result = run(tmp_path / "a.h5")
    assert result.exit_code == 2 and "no crystal of at most 20 atoms that is not for training" in result.output
