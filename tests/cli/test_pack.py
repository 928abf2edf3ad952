"""`inpaint-hpc pack`: many formats in, one packed file out."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_hosts import MNO2

from inpaint_hpc import read_hosts
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.packed import PackedDataset, is_validation, read_packed

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "data" / "smoke.h5"


@pytest.fixture
def pack(tmp_path):
    """Runs the verb on arguments; the packed file is tmp_path / 'out.h5'."""

    def run(*args):
        return CliRunner().invoke(cli, ["pack", *map(str, args), "--out", str(tmp_path / "out.h5")])

    return run


def test_mixed_inputs(pack, tmp_path):
    result = pack(MNO2, f"{SMOKE}::0:200", "--licence", "CC BY 4.0", "--title", "both")
    assert result.exit_code == 0, result.stderr
    out = tmp_path / "out.h5"
    expected = read_hosts([MNO2, f"{SMOKE}::0:200"])
    validation = sum(is_validation(crystal.numbers) for crystal in expected)
    summary = f"207 crystals ({207 - validation} train, {validation} validation)"
    assert result.stdout == f"{out}: {summary}\n"
    assert [crystal.name for crystal in read_packed(out)] == [crystal.name for crystal in expected]
    assert len(PackedDataset(out, "val")) == validation == 20
    assert PackedDataset(out, "val").ids == PackedDataset(SMOKE, "val").ids


def test_limits(pack, tmp_path):
    result = pack(SMOKE, "--max-atoms", 5, "--val-modulus", 3)
    assert result.exit_code == 0
    assert "larger than 5 atoms left out" in result.stdout
    dataset = PackedDataset(tmp_path / "out.h5")
    assert dataset.n_atoms.max() == 5
    assert 0.1 < len(PackedDataset(tmp_path / "out.h5", "val")) / len(dataset) < 0.6


def test_bad_files_stop_or_are_left_out(pack, tmp_path):
    (tmp_path / "bad.cif").write_text("not a CIF")
    shutil.copy(MNO2 / "R_mp-19326.cif", tmp_path / "good.cif")
    stopped = pack(tmp_path / "bad.cif", tmp_path / "good.cif")
    assert stopped.exit_code == 2
    assert stopped.stderr.startswith(f"Error: {tmp_path / 'bad.cif'}: ")
    assert not (tmp_path / "out.h5").exists()
    going = pack(tmp_path / "bad.cif", tmp_path / "good.cif", "--keep-going")
    assert going.exit_code == 0
    assert going.stderr.startswith(f"left out: {tmp_path / 'bad.cif'}: ")
    assert "1 crystals (1 train, 0 validation, 1 unusable left out)" in going.stdout
    nothing = pack(tmp_path / "bad.cif", "--keep-going", "--overwrite")
    assert nothing.exit_code == 2
    assert "no crystal left to write, 1 could not be read" in nothing.stderr


def test_existing_files_are_safe(pack, tmp_path):
    assert pack(MNO2).exit_code == 0
    before = (tmp_path / "out.h5").read_bytes()
    refused = pack(SMOKE)
    assert refused.exit_code == 2
    assert "exists already; add --overwrite to replace it" in refused.stderr
    assert (tmp_path / "out.h5").read_bytes() == before
    assert pack(tmp_path / "out.h5", SMOKE, "--overwrite").exit_code == 0
    assert len(PackedDataset(tmp_path / "out.h5")) == 227
