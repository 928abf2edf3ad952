"""`--sigma-max` and `--sigma-min` of every verb that samples."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_hosts import MNO2

from inpaint_hpc.cli.main import cli

DATA = Path(__file__).parents[1] / "data"
HOST = str(MNO2 / "delta_mp-25223.cif")
SPINEL = str(MNO2 / "lambda_mp-25275.cif")
VERBS = {
    "inpaint": ["inpaint", HOST, "--guest", "Li", "--no-score", "--samples", "2"],
    "several": ["inpaint", SPINEL, "--guest", "Li=2", "--no-score", "--samples", "2", "--redraws", "9"],
    "generate": ["generate", "--composition", "Li2O", "--cell", "4,4,4,90,90,90", "--no-score", "--samples", "2"],
    "sites": ["sites", HOST, "--guest", "Li", "--single", "2", "--joint", "1", "--rounds", "1", "--energies", "0"],
    "series": ["series", HOST, "--guest", "Li", "--counts", "1", "--samples", "2", "--relax", "none"],
    "wbm": ["benchmark", "wbm", str(DATA / "smoke.h5"), "--limit", "1", "--samples", "1", "--cluster", "inline"],
    "benchmark sites": ["benchmark", "sites", str(DATA / "electrodes.h5"), "--limit", "1"],
    "generation": ["benchmark", "generation", str(DATA / "smoke.h5"), "--limit", "1"],
}


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(verb, *more):
        return CliRunner().invoke(cli, [*VERBS[verb], "--steps", "4", "--weights", str(tiny_weights.path), *more])

    return invoke


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["--sigma-max", "0"], "'--sigma-max'"),
        (["--sigma-min", "-1"], "'--sigma-min'"),
        (["--sigma-max", "0.1", "--sigma-min", "0.1"], "sigma_min must be < sigma_max"),
        (["--sigma-max", "nan"], "sigma_max must be above 0"),
    ],
)
def test_levels_that_are_no_levels_are_one_line(run, tmp_path, verb, levels, message):
    result = run(verb, *levels)
    assert result.exit_code == 2 and message in result.stderr, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_levels_beyond_the_trained_ones_are_one_line(run, tmp_path, verb):
    result = run(verb, "--sigma-max", "9")
    assert result.exit_code == 2 and "outside of what the network was trained for" in result.stderr, result.output
    assert list(tmp_path.iterdir()) == []


def test_results_say_which_levels(run, tmp_path):
    levels = ["--sigma-max", "2.5", "--sigma-min", "0.05"]
    settings = json.loads(run("inpaint", *levels, "--json").stdout)["settings"]
    assert (settings["sigma_max"], settings["sigma_min"]) == (2.5, 0.05)
    settings = json.loads(run("sites", *levels, "--json").stdout)["settings"]
    assert (settings["sigma_max"], settings["sigma_min"]) == (2.5, 0.05)
    assert "sigma_max" not in json.loads(run("sites", "--json").stdout)["settings"]
    assert run("wbm", "--ions", "Li", *levels).exit_code == 0
    known = json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())["settings"]["sampling"]
    assert known == {"steps": 4, "sigma_max": 2.5, "sigma_min": 0.05}
    again = run("wbm", "--ions", "Li")
    assert again.exit_code == 2 and "benchmark with other settings" in again.stderr


def test_several_guests_with_a_smallest_level_above_that_of_the_refinement(run):
    result = run("several", "--strategy", "sequential", "--sigma-min", "0.6")
    assert result.exit_code == 0, result.output
