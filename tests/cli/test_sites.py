"""`sites` as users see it: tables, JSON, files, and one-line errors."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from example_hosts import MNO2
from pymatgen.core import Structure

from inpaint_hpc.cli.main import cli
from inpaint_hpc.sites.site_network import COLUMNS


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        quick = ["--weights", tiny_weights.path, "--steps", 4, "--single", 4, "--joint", 1, "--rounds", 1]
        return CliRunner().invoke(cli, ["sites", *map(str, [*args, *quick])])

    return invoke


def test_json_is_the_only_thing_on_stdout_and_agrees_with_the_files(run, open_host, tmp_path):
    result = run(open_host, MNO2 / "delta_mp-25424.cif", "--guest", "Li=2", "--energies", 1, "--json", "--out", "found")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["command"] == "sites" and content["settings"]["rounds"] == 1
    assert json.loads((tmp_path / "found" / "sites.json").read_text()) == content
    first, second = content["hosts"]
    assert (first["host"], first["guest"], first["host_atoms"]) == ("open", "Li", 2)
    assert second["spacegroup"] == "R-3m" and second["operations"] == 12
    assert first["sites"][0]["energy_eV"] < 0 and first["sites"][0]["above_best_meV"] == 0
    assert 0 < first["positions"] <= 6
    assert len(first["orbit_distances_A"]) == len(first["sites"])
    assert isinstance(first["most_by_distance"], int)  # of the sites that were relaxed
    assert "no transition metal" in first["most_by_charge"]["reason"]
    limits = [(one["states"], one["guests"], one["formula"]) for one in second["most_by_charge"]["limits"]]
    assert limits == [({"Mn": 3}, 1.0, "LiMnO2"), ({"Mn": 2}, 2.0, "Li2MnO2")]
    for site in first["sites"]:
        assert len(site["frac_coords"]) == site["multiplicity"]
    table = pd.read_csv(tmp_path / "found" / "open" / "sites.csv")
    assert list(table.columns) == list(COLUMNS)
    assert list(table["multiplicity"]) == [site["multiplicity"] for site in first["sites"]]
    structure = Structure.from_file(first["file"])
    n_sites = sum(site["multiplicity"] for site in first["sites"])
    assert structure.composition.as_dict() == {"Mg": 1, "O": 1, "Li": n_sites}


def test_the_table_says_what_was_found(run, open_host):
    result = run(open_host, "--guest", "Li", "--energies", 0)
    assert result.exit_code == 0, result.output
    assert "open (Mg1 O1): sites of Li" in result.stdout
    assert "symmetry operations (symprec 0.01 A); new sites were still being found" in result.stdout
    assert "most by charge: the host has no transition metal" in result.stdout
    shares = [line.split("%")[0].split()[-1] for line in result.stdout.splitlines() if "%" in line]
    assert np.array(shares, dtype=float).sum() == pytest.approx(100, abs=len(shares))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--guest", "Li", "--guest", "Na"], "one ion at a time"),
        (["--guest", "Xx"], "unknown element"),
        (["--guest", "Li=90"], "more than the cell"),
        (["--guest", "Li", "--merge", "0"], "merging distance"),
    ],
)
def test_errors_are_one_line(run, open_host, args, message):
    result = run(open_host, *args)
    assert result.exit_code == 2 and result.stdout == ""
    assert message in result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == result.stderr.splitlines()
