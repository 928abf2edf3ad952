"""`inpaint`, `generate` and `demo` as users see them: tables, JSON, files, and one-line errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from example_hosts import MNO2
from pymatgen.core import Lattice, Structure

import inpaint_hpc
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.reading import read_hosts

ROOT = Path(inpaint_hpc.__file__).parents[1]
SPINEL = MNO2 / "lambda_mp-25275.cif"
LAYERED = MNO2 / "delta_mp-25223.cif"
CANDIDATE_KEYS = {
    "rank", "energy_per_atom_eV", "max_force_eV_per_A", "max_guest_force_eV_per_A", "min_distance_A", "agreement",
    "count", "spread_A", "multiplicity", "wyckoff", "spacegroup", "guest_frac_coords", "sample", "members", "error",
    "file", "relaxed", "placements", "origin",
    *("energy_per_guest_eV", "placed_agreement", "placed_multiplicity", "placed_wyckoff", "coordination"),
    *("environment", "bond_valence_sum"),
}  # fmt: skip


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch):
    """Runs a verb in an empty folder with the tiny weights and few steps."""
    monkeypatch.chdir(tmp_path)

    def invoke(verb, *args, quick=True):
        extra = ["--weights", tiny_weights.path] + (["--steps", 4, "--samples", 3, "--no-score"] if quick else [])
        return CliRunner().invoke(cli, [verb, *map(str, [*args, *extra])])

    return invoke


def one_line_error(result):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_table_and_files(run, tmp_path):
    result = run("inpaint", SPINEL, LAYERED, "--guest", "Li")
    assert result.exit_code == 0, result.output
    assert "lambda_mp-25275 (Mn4 O8) + Li=1" in result.stdout
    assert "samples drawn" in result.stdout and "impossible" in result.stdout
    lines = result.stdout.rstrip().splitlines()
    files = sorted(tmp_path.glob("inpainted/*/rank-*.cif"))
    assert lines[-1] == f"{len(files)} structures and results.json in inpainted"
    assert {p.parent.name for p in files} == {"lambda_mp-25275", "delta_mp-25223"}
    host, written = (
        read_hosts([SPINEL])[0],
        read_hosts([tmp_path / "inpainted" / "lambda_mp-25275" / "rank-000.cif"])[0],
    )
    assert written.formula == "Li1 Mn4 O8"
    np.testing.assert_allclose(written.frac_coords[:12], host.frac_coords, atol=1e-7)


def test_json_is_one_object_and_what_the_documentation_says(run, open_host, tmp_path):
    result = run("inpaint", open_host, "--guest", "Li=2", "--guest", "Na", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert set(content) == {"schema", "command", "version", "weights", "settings", "seconds", "hosts"}
    assert content["schema"] == "1.1" and content["command"] == "inpaint"
    assert content["settings"]["steps"] == 4 and content["settings"]["seed"] == 0
    (host,) = content["hosts"]
    assert host["host"] == "open" and host["guests"] == ["Li", "Li", "Na"]
    assert host["n_drawn"] >= 3 and host["n_invalid"] == host["n_drawn"] - sum(c["count"] for c in host["candidates"])
    for rank, candidate in enumerate(host["candidates"]):
        assert set(candidate) == CANDIDATE_KEYS
        assert candidate["rank"] == rank and candidate["file"] is None and candidate["energy_per_atom_eV"] is None
        assert np.shape(candidate["guest_frac_coords"]) == (3, 3)
        assert len(candidate["multiplicity"]) == len(candidate["wyckoff"]) == 3
    assert list(tmp_path.iterdir()) == []
    documented = (ROOT / "docs" / "json.md").read_text()
    for key in {*content, *host, *CANDIDATE_KEYS, *content["settings"]}:
        assert f"`{key}`" in documented


def test_json_of_a_real_process_with_energies(tiny_weights, tmp_path):
    """Nothing but the object on stdout, although CHGNet greets whoever loads it."""
    command = [sys.executable, "-m", "inpaint_hpc", "inpaint", LAYERED, "--guest", "Li", "--steps", 4, "--samples", 2]
    command += ["--weights", tiny_weights.path, "--json", "--out", tmp_path / "out", "--format", "extxyz"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=600)
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["weights"] == {"name": "tiny", "sha256": tiny_weights.sha256}
    candidates = content["hosts"][0]["candidates"]
    assert all(np.isfinite(c["energy_per_atom_eV"]) and c["max_force_eV_per_A"] > 0 for c in candidates)
    # By energy, but a void that no sample shows never comes first in a frozen host.
    shown = [c["energy_per_atom_eV"] for c in candidates if c["origin"] != "void"]
    assert shown == sorted(shown) and candidates[0]["origin"] != "void"
    assert read_hosts([candidates[0]["file"]])[0].formula == "Li1 Mn1 O2"
    saved = json.loads((tmp_path / "out" / "results.json").read_text())
    assert saved == content
    assert "Warning" not in result.stderr and "CHGNet v" not in result.stderr


def test_same_seed_same_samples_and_another_seed_others(run, open_host):
    def positions(seed):
        result = run("inpaint", open_host, "--guest", "Li", "--json", "--seed", seed)
        return [c["guest_frac_coords"] for c in json.loads(result.stdout)["hosts"][0]["candidates"]]

    first = positions(3)
    assert positions(3) == first
    assert positions(4) != first


def test_top_limits_what_is_shown_and_written(run, open_host, tmp_path):
    result = run("inpaint", open_host, "--guest", "Li=2", "--top", 1, "--out", "few", "--format", "poscar")
    assert result.exit_code == 0
    assert [p.name for p in tmp_path.glob("few/*/*")] == ["rank-000.vasp"]
    assert "more" in result.stdout


def test_host_that_already_contains_the_guest_works_and_says_so(run):
    result = run("inpaint", LAYERED, "--guest", "O", "--json")
    note = "the host already contains 2 O atoms; they stay fixed"
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)["hosts"][0]["notes"][0] == note
    assert f"Note: delta_mp-25223: {note}\n" in result.stderr
    assert note in run("inpaint", LAYERED, "--guest", "O").stdout


def test_only_impossible_samples(run, tmp_path):
    # Three barium atoms by a network that knows nothing: there is room, but hardly for a random placement.
    result = run("inpaint", SPINEL, "--guest", "Ba=3", "--redraws", 0)
    assert result.exit_code == 1
    assert "no candidates" in result.stdout
    assert "all 3 samples are impossible (" in result.stdout
    assert "Traceback" not in result.output and result.exception.__class__ is SystemExit


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ([], "Missing option '--guest'"),
        (["--guest", "Li=0"], "lambda_mp-25275: no guests to place"),
        (["--guest", "Xx"], "unknown element 'Xx'"),
        (["--guest", "Li=many"], "cannot read --guest 'Li=many': write it like Li=4"),
        (["--guest", "=3"], "cannot read --guest '=3'"),
        (["--guest", "Li=400"], "Li=400 is more than the cell of 130 A^3 can hold"),
        (["--guest", "Fm"], "supported are 1 (H) to 94"),
        (["--guest", "Li", "--samples", "0"], "samples must be"),
        (["--guest", "Li", "--steps", "1"], "1 steps are too few"),
        (["--guest", "Li", "--edge-budget", "5"], "raise edge_budget to"),
        (["--guest", "Li", "--weights", "nonsense"], "no weights 'nonsense'"),
        (["--guest", "Li", "--tolerance", "0"], "tolerance must be above 0"),
    ],
)
def test_mistakes_in_options_are_one_line(run, args, match):
    quick = "--samples" not in args and "--steps" not in args and "--weights" not in args
    if quick:
        assert match in one_line_error(run("inpaint", SPINEL, *args))
    else:
        assert match in one_line_error(CliRunner().invoke(cli, ["inpaint", str(SPINEL), "--steps", "4", *args]))


def test_hosts_that_cannot_be_used_are_one_line(run, tmp_path):
    (tmp_path / "empty.cif").touch()
    cell = Lattice.cubic(4.2)
    disordered = Structure(cell, [{"Mg": 0.5, "Ca": 0.5}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    disordered.to(filename=str(tmp_path / "disordered.cif"))
    broken = Structure(cell, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()
    for site in broken["sites"]:
        site["abc"] = site["xyz"] = [float("nan"), 0.0, 0.0]
    (tmp_path / "nan.json").write_text(json.dumps(broken))
    element = SPINEL.read_text().replace("  O  O11", "  Qq  Q11")
    (tmp_path / "element.cif").write_text(element)
    for name, match in (
        ("empty.cif", "empty.cif: the file is empty"),
        ("disordered.cif", "partially occupied"),
        ("nan.json", "not finite"),
        ("element.cif", "element.cif"),
        ("missing.cif", "missing.cif: no such file"),
    ):
        assert match in one_line_error(run("inpaint", tmp_path / name, "--guest", "Li"))


def test_cell_of_2000_atoms_on_a_small_budget_names_the_budget_it_needs(run, tmp_path):
    big = Structure(Lattice.cubic(2.6), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    big.make_supercell([10, 10, 10])
    big.to(filename=str(tmp_path / "big.vasp"), fmt="poscar")
    message = one_line_error(run("inpaint", tmp_path / "big.vasp", "--guest", "Li", "--edge-budget", 1000))
    assert "big: one sample needs an edge budget of" in message and "the budget is 1000" in message


def test_generate(run, tmp_path):
    result = run("generate", "--composition", "Li2O1", "--volume-per-atom", 40, "--json", "--redraws", 30)
    assert result.exit_code == 0, result.output
    (host,) = json.loads(result.stdout)["hosts"]
    assert host["host_atoms"] == 0 and host["guests"] == ["Li", "Li", "O"]
    np.testing.assert_allclose(host["lattice_A"], np.eye(3) * 120 ** (1 / 3))
    assert all(c["spacegroup"] and c["multiplicity"] == [] for c in host["candidates"])
    result = run("generate", "--composition", "NaCl", "--cell", "5,5,6,90,90,120", "--redraws", 30)
    assert result.exit_code == 0, result.output
    assert "group" in result.stdout and list(tmp_path.glob("generated/NaCl/rank-*.cif"))


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ([], "give either --cell or --volume-per-atom"),
        (["--cell", "5,5,5,90,90,90", "--volume-per-atom", "12"], "give either"),
        (["--cell", "5,5,5"], "write six numbers"),
        (["--cell", "5,5,x,90,90,90"], "write six numbers"),
        (["--cell", "5,5,-5,90,90,90"], "lengths must be positive"),
        (["--cell", "5,5,5,10,90,150"], "no cell has these three angles"),
        (["--volume-per-atom", "12", "--shape", "c_over_a"], "write it like c_over_a=1.6"),
        (["--volume-per-atom", "12", "--shape", "c_over_a=2"], "a cubic cell takes no shape parameter"),
        (["--volume-per-atom", "0.01"], "more than the cell of"),
        (["--volume-per-atom", "-3"], "must be positive"),
    ],
)
def test_mistakes_in_generate_are_one_line(run, args, match):
    assert match in one_line_error(run("generate", "--composition", "Li2O", *args))


def test_unreadable_composition_is_one_line(run):
    assert "cannot read the formula" in one_line_error(run("generate", "--composition", "??", "--volume-per-atom", 12))


def test_demo_draws_every_host(tiny_weights, tmp_path):
    arguments = ["demo", "--out", tmp_path / "demo", "--samples", 1, "--guests", "Li", "--no-score"]
    arguments += ["--cluster", "inline", "--weights", tiny_weights.path]
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    pictures = sorted(p.stem for p in (tmp_path / "demo").glob("*.png"))
    assert pictures == sorted(p.stem for p in MNO2.glob("*.cif")) and len(pictures) == 7
    said = result.stdout.rstrip().splitlines()
    assert said[-2].endswith(f"results.json in {tmp_path / 'demo'}")
    assert said[-1].startswith(f"open {tmp_path / 'demo' / 'report.html'} in a browser")
    assert "lambda_mp-25275" in (tmp_path / "demo" / "report.html").read_text()
    assert json.loads((tmp_path / "demo" / "results.json").read_text())["command"] == "demo"


def test_demo_without_ions_is_one_line(tiny_weights):
    result = CliRunner().invoke(cli, ["demo", "--guests", " , ", "--weights", str(tiny_weights.path)])
    assert "no guests to place" in one_line_error(result)


@pytest.mark.parametrize("verb", ["inpaint", "sites", "series"])
def test_an_archive_replaces_nothing_but_an_archive(run, tmp_path, verb):
    """It is refused before anything is computed, and the file is as it was."""
    for name, match in (("host.cif", "an archive is called FILE.h5"), ("data.h5", "not readable as a result file")):
        (tmp_path / name).write_text("precious")
        said = one_line_error(run(verb, SPINEL, "--guest", "Li", "--archive", tmp_path / name, quick=False))
        assert match in said and (tmp_path / name).read_text() == "precious"
