"""`inpaint-hpc benchmark electrodes` and `wbm-single`, end to end with a network that knows nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pymatgen.analysis.structure_matcher import StructureMatcher
from tiny_network import save_tiny_weights

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.packed import read_electrodes, read_packed
from inpaint_hpc.report.contents import archive_contents

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def run(tmp_path):
    weights = save_tiny_weights(tmp_path).path

    def run(protocol, source, *more):
        options = ["--limit", "2", "--samples", "2", "--steps", "4", "--weights", str(weights), "--cluster", "inline"]
        files = ["--json", str(tmp_path / "out.json"), "--csv", str(tmp_path / "rows.csv")]
        place = ["--out", str(tmp_path / "bm"), *files]
        result = CliRunner().invoke(cli, ["benchmark", protocol, str(DATA / source), *options, *place, *more])
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "out.json").read_text())

    return run


def test_hosts_are_empty_and_references_are_kept(run, tmp_path):
    document = run("electrodes", "electrodes.h5")
    assert document["protocol"] == "electrodes" and document["stol"] == 0.3
    assert len(document["tasks"]) == 2 and set(document["summary"]) <= {"1", "2-3", "4-7", "8+", "all"}
    pairs = {pair.name: pair for pair in read_electrodes(DATA / "electrodes.h5")}
    with Archive(tmp_path / "bm" / "run" / "archive.h5") as archive:
        for record in archive.iter_records():
            pair = pairs[record.host.name]
            assert np.array_equal(record.host.frac_coords, pair.host.frac_coords)
            assert np.array_equal(record.reference_frac_coords, pair.reference.frac_coords[len(pair.host) :])
            assert record.guests == (pair.guest_z,) * pair.n_guest
            limit = 0.3 * (pair.host.volume / (len(pair.host) + pair.n_guest)) ** (1 / 3)
            assert record.reference_tolerance == pytest.approx(limit)
    status = CliRunner().invoke(cli, ["status", str(tmp_path / "bm" / "run")])
    assert f"{sum(one['top1'] for one in document['tasks'])} of 2 first candidates put back" in status.output
    # A report counts by the tolerance of the campaign as well.
    with Archive(tmp_path / "bm" / "run" / "archive.h5") as archive:
        assert archive_contents(archive).facts["known_right"] == sum(one["top1"] for one in document["tasks"])
    # LES is kept: a second call computes none again.
    states = json.loads((tmp_path / "bm" / "les.json").read_text())["tasks"]
    assert {one["task_id"] for one in document["tasks"] if one["candidates"]} == states.keys()
    assert all(one["les"] == states.get(one["task_id"], {}).get("les", False) for one in document["tasks"])
    for one in document["tasks"]:
        assert one["max_force_eV_per_A"] > 0 and one["reference_max_force_eV_per_A"] > 0
        assert abs(one["energy_deviation_eV_per_atom"]) < 5.0
    before = (tmp_path / "bm" / "les.json").stat().st_mtime_ns
    assert run("electrodes", "electrodes.h5") == document
    assert (tmp_path / "bm" / "les.json").stat().st_mtime_ns == before
    summary = json.loads((tmp_path / "bm" / "results" / "summary.json").read_text())["summary"]
    assert all({"hosts", "any_k", "top1", "les", "les_low"} <= row.keys() for row in summary.values())
    same = CliRunner().invoke(cli, ["benchmark", "compare", str(tmp_path / "bm"), str(tmp_path / "bm" / "run")])
    assert same.exit_code == 0 and "+0 (+0 to +0)" in same.output and document["missing"] == []
    assert "LES" not in same.output  # a run directory has none
    both = CliRunner().invoke(cli, ["benchmark", "compare", str(tmp_path / "bm"), str(tmp_path / "bm")])
    assert both.exit_code == 0 and "LES" in both.output
    # `score` takes protocol, tolerance, hosts and LES from the folder.
    scored = CliRunner().invoke(cli, ["score", str(tmp_path / "bm"), "--json", str(tmp_path / "scored.json")])
    assert scored.exit_code == 0, scored.output
    assert {**document, **json.loads((tmp_path / "scored.json").read_text())} == document
    # The matchers compare with the discharged crystal, not with the host and the ions in it.
    matched = CliRunner().invoke(
        cli, ["score", str(tmp_path / "bm"), "--matchers", "--json", str(tmp_path / "matched.json")]
    )
    assert matched.exit_code == 0 and "match" in matched.output, matched.output
    with Archive(tmp_path / "bm" / "run" / "archive.h5") as archive:
        records = {record.task_id: record for record in archive.iter_records()}
    for one in json.loads((tmp_path / "matched.json").read_text())["tasks"]:
        record = records[one["task_id"]]
        reference = pairs[one["host"]].reference.to_structure()
        found = StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10)
        right = bool(len(record.candidates)) and found.fit(reference, record.crystal(0).to_structure())
        assert one["match_loose"] == right
    # Columns of the source stay with the rows.
    for one in document["tasks"]:
        assert one["framework"] == pairs[one["host"]].info["framework"]
        assert one["average_voltage"] == pytest.approx(pairs[one["host"]].info["average_voltage"])
    with (tmp_path / "rows.csv").open() as file:
        assert {"average_voltage", "top1"} <= next(csv.DictReader(file)).keys()


def test_one_ion_goes_and_the_others_stay(run, tmp_path):
    document = run("wbm-single", "smoke.h5", "--ions", "Li")
    full = {crystal.name: crystal for crystal in read_packed(DATA / "smoke.h5")}
    assert len({one["framework"] for one in document["tasks"]}) == 2 and document["summary"]["Li"]["frameworks"] == 2
    for one in document["tasks"]:
        assert one["guests"] == "Li" and one["n_atoms"] == len(full[one["framework"]]) - 1
