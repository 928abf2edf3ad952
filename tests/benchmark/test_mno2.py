"""`inpaint-hpc benchmark mno2`: the packaged hosts against their known sites, also from the folder of a demo."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scored_tasks import SITES, SPINEL, record
from tiny_network import save_tiny_weights

from inpaint_hpc.benchmark.mno2 import mno2_lines, mno2_row
from inpaint_hpc.campaign.task_records import results_of
from inpaint_hpc.cli.main import cli


def row(candidates, host=SPINEL):
    (result,) = results_of([record(1, [], candidates, guests=(3,), host=host)])
    return mno2_row(result)


def test_a_known_site_is_right_within_half_an_angstrom():
    between = np.array([[0.3, 0.4, 0.2]])
    found = row([between, SITES])
    assert (found["first"], found["any"], found["rank"], found["ion"]) == (False, True, 1, "Li")
    assert found["distance_A"] > 0.5 and found["known"] == "tetrahedral 8a, octahedral 16c"
    # The octahedral site is known too.
    first = row([np.zeros((1, 3))])
    assert first["first"] and first["distance_A"] == pytest.approx(0.0, abs=1e-4)
    nothing = row([])
    assert (nothing["first"], nothing["any"], nothing["rank"], nothing["distance_A"]) == (False, False, None, None)
    unknown = row([SITES], host=replace(SPINEL, name="beta_mp-510408"))
    assert unknown["first"] is unknown["any"] is None
    lines = mno2_lines([found, nothing, unknown])
    assert [line[3:5] for line in lines] == [["no", "rank 1"], ["no", "no"], ["-", "-"]]


def test_the_folder_of_a_demo_is_read(tmp_path):
    weights, folder = str(save_tiny_weights(tmp_path).path), tmp_path / "demo"
    options = ["--samples", "1", "--guests", "Li", "--no-score", "--weights", weights, "--cluster", "inline"]
    run = CliRunner().invoke(cli, ["benchmark", "mno2", str(folder), *options])
    assert run.exit_code == 0 and "of 4 first candidates are on a known site" in run.output, run.output
    before = (folder / "run" / "archive.h5").stat().st_mtime_ns
    # The options of the campaign that is there need not be given again.
    files = ["--json", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv"), "--cluster", "inline"]
    again = CliRunner().invoke(cli, ["benchmark", "mno2", str(folder), *files])
    assert again.exit_code == 0, again.output
    assert (folder / "run" / "archive.h5").stat().st_mtime_ns == before
    document = json.loads((tmp_path / "out.json").read_text())
    assert len(document["tasks"]) == 7 and document["summary"]["Li"]["hosts"] == 4
    assert sum(one["first"] for one in document["tasks"] if one["known"]) == 4 * document["summary"]["Li"]["first"]
    assert (folder / "results" / "table.md").read_text().count("\n") == 9
    assert (folder / "results" / "tasks.csv").read_text() == (tmp_path / "out.csv").read_text()


def test_bad_input_is_one_line(tmp_path):
    none = CliRunner().invoke(cli, ["benchmark", "mno2", str(tmp_path), "--guests", ","])
    assert none.exit_code == 2 and "no guests to place" in none.output and none.output.count("\n") == 1
