"""`inpaint-hpc benchmark`: the same hosts everywhere, a campaign, a table."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_network import save_tiny_weights

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.benchmark.choosing import Choice, chosen_hosts
from inpaint_hpc.benchmark.score import score_record
from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import hash_order, read_packed
from inpaint_hpc.crystals.packed_writing import write_packed

SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"


def made(number, elements):
    return Crystal(
        np.array(elements), np.random.default_rng(number).random((len(elements), 3)), np.eye(3) * 9, f"m{number}"
    )


def test_the_first_by_hash_whatever_the_order_and_the_limit():
    rng = np.random.default_rng(0)
    crystals = [made(k, rng.choice([3, 8, 11], size=rng.integers(1, 6))) for k in range(60)]
    holds = [c for c in crystals if 0 < (c.numbers == 3).sum() < len(c) <= 4]
    for order in (crystals, crystals[::-1]):
        for limit in (None, 1, 5, 1000):
            found = chosen_hosts(order, Choice(["Li", "Na"], limit, max_atoms=4))
            assert [c.name for c in found["Li"]] == [c.name for c in hash_order(holds)[:limit]]
    assert chosen_hosts(crystals, Choice(["K"], None, 4)) == {"K": []}


@pytest.fixture
def run(tmp_path):
    weights = save_tiny_weights(tmp_path).path

    def run(*more):
        options = ["--ions", "Li,Na", "--limit", "2", "--samples", "2", "--steps", "4", "--weights", str(weights)]
        place = ["--out", str(tmp_path / "bm"), "--cluster", "inline", "--json", str(tmp_path / "out.json")]
        return CliRunner().invoke(cli, ["benchmark", "wbm", str(SMOKE), *options, *place, *more])

    return run


def test_a_benchmark_is_a_campaign_and_a_table(run, tmp_path):
    result = run("--csv", str(tmp_path / "rows.csv"))
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out.json").read_text())
    chosen = json.loads((tmp_path / "bm" / "benchmark.json").read_text())["hosts"]
    expected = chosen_hosts(read_packed(SMOKE), Choice(["Li", "Na"], 2))
    assert chosen == {ion: [crystal.name for crystal in crystals] for ion, crystals in expected.items()}
    for ion, names in chosen.items():
        row = document["summary"][ion]
        assert row["hosts"] == len(names) and row["nfe"] == 4
        assert {"one_sample", "top1", "any_k", "guest_rmsd_median", "seconds"} <= row.keys()
        rows = [one for one in document["tasks"] if one["guests"].rstrip("0123456789") == ion]
        assert sorted(one["host"] for one in rows) == sorted(names)
    # What was taken out is what was put back.
    by_name = {crystal.name: crystal for crystal in read_packed(SMOKE)}
    with Archive(tmp_path / "bm" / "run" / "archive.h5") as archive:
        for record in archive.iter_records():
            full = by_name[record.host.name]
            assert len(full) == len(record.host) + len(record.guests)
            assert (full.numbers == record.guests[0]).sum() == len(record.guests)
            # What the workers stored is what an archive without it is scored by.
            assert len(record.samples) and record.reference_tolerance is not None
            assert score_record(record) == score_record(replace(record, reference_tolerance=None))
    # The workers have said so while it ran.
    status = CliRunner().invoke(cli, ["status", str(tmp_path / "bm" / "run")])
    right = sum(one["top1"] for one in document["tasks"])
    assert f"{right} of {len(document['tasks'])} first candidates put back what was taken out" in status.output
    # Again: nothing is run, the table is the same; another benchmark is refused.
    before = (tmp_path / "bm" / "run" / "archive.h5").stat().st_mtime_ns
    assert run().exit_code == 0 and json.loads((tmp_path / "out.json").read_text()) == document
    assert (tmp_path / "bm" / "run" / "archive.h5").stat().st_mtime_ns == before
    other = run("--limit", "1")
    assert other.exit_code == 2 and "is a benchmark with other limit; use another --out" in other.output


def test_the_campaign_can_be_run_by_other_verbs(run, tmp_path):
    assert run().exit_code == 0
    config = load_config(tmp_path / "bm" / "campaign.yaml")
    assert config.samples == 2 and config.output == tmp_path / "bm" / "run"
    again = CliRunner().invoke(
        cli, ["run", str(tmp_path / "bm" / "campaign.yaml"), "--cluster", "inline", "--top", "0"]
    )
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ions", "Li,Qq"], "--ions: Qq is no element"),
        (["--ions", ","], "--ions: nothing is no element"),
        (["--anions", "O,Zz"], "--anions: Zz is no element"),
        (["--anions", "Te"], "holds Li, Na and something else, with anions of Te; see --ions"),
        (["--ions", "He"], "no crystal of at most 40 atoms holds He and something else"),
    ],
)
def test_bad_input_is_one_line(run, options, message):
    result = run(*options)
    assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1


def test_a_benchmark_whose_archive_lacks_tasks_goes_on(run, tmp_path):
    assert run().exit_code == 0
    whole = json.loads((tmp_path / "out.json").read_text())
    directory = RunDirectory(tmp_path / "bm" / "run")
    directory.result_paths()[0].unlink()
    collect_run(directory)
    assert run().exit_code == 0
    again = json.loads((tmp_path / "out.json").read_text())
    assert len(again["tasks"]) == len(whole["tasks"]) and not directory.pending_units()


def test_ids_are_excluded_and_anions_chosen(run, tmp_path):
    crystals = read_packed(SMOKE)
    first = chosen_hosts(crystals, Choice(["Li"], 2))["Li"]
    (tmp_path / "ids").write_text(first[0].name + "\n")
    write_packed(tmp_path / "training.h5", [replace(crystal, info={}) for crystal in crystals])
    near = ["--training", str(tmp_path / "training.h5")]
    result = run("--ions", "Li", "--anions", "O,F", "--exclude", str(tmp_path / "ids"), "--random", "3", *near)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out.json").read_text())
    assert set(document["by_anion"]) <= {"O", "F", "all"} and {one["anion"] for one in document["tasks"]} <= {"O", "F"}
    # The file has the crystals themselves, so that nothing is far from it.
    assert list(document["by_training_distance"]) == ["0"] and document["tasks"][0]["training_distance"] == 0.0
    expected = chosen_hosts(crystals, Choice(["Li"], 2, anions=["O", "F"], exclude=[first[0].name]))["Li"]
    assert sorted(one["host"] for one in document["tasks"]) == sorted(crystal.name for crystal in expected)
    assert "chance" in document["summary"]["Li"] and "les" not in document["summary"]["Li"]
    # A later `score` of the folder has the same chance rate.
    kept = json.loads((tmp_path / "bm" / "benchmark.json").read_text())
    assert kept["random"] == 3
    scored = CliRunner().invoke(cli, ["score", str(tmp_path / "bm"), "--json", str(tmp_path / "scored.json")])
    assert scored.exit_code == 0 and "chance" in scored.output, scored.output
    assert {**document, **json.loads((tmp_path / "scored.json").read_text())} == document
    # An archive without any of the chosen hosts.
    (tmp_path / "bm" / "benchmark.json").write_text(json.dumps({**kept, "hosts": {"Li": ["elsewhere"]}}))
    none = CliRunner().invoke(cli, ["score", str(tmp_path / "bm")])
    assert none.exit_code == 2 and "holds none of the hosts that the benchmark chose" in none.output
    (tmp_path / "bm" / "benchmark.json").write_text(json.dumps(kept))
    other = run("--ions", "Li", "--anions", "O,F")
    assert other.exit_code == 2 and "is a benchmark with other exclude; use another --out" in other.output


def test_what_cannot_be_read_is_left_out_and_counted(run, tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n_atom_site_fract_x\n")
    result = run(str(tmp_path / "broken.cif"))
    assert result.exit_code == 0, result.output
    assert "left out: 1 crystals that cannot be used, the first: " in result.output and "broken.cif" in result.output
    options = ["benchmark", "wbm", str(tmp_path / "broken.cif"), "--out", str(tmp_path / "other")]
    alone = CliRunner().invoke(cli, options)
    assert alone.exit_code == 2 and alone.output.startswith("Error: ") and "broken.cif" in alone.output
    assert not (tmp_path / "other").exists()


def test_samples_alone_and_kinds_of_their_failures(run, tmp_path):
    assert run("--no-score").exit_code == 0
    document = json.loads((tmp_path / "out.json").read_text())
    with Archive(tmp_path / "bm" / "run" / "archive.h5") as archive:
        assert all(c.energy_per_atom is None for record in archive.iter_records() for c in record.candidates)
    script = Path(__file__).parents[2] / "benchmarks" / "failures.py"
    command = [sys.executable, str(script), str(tmp_path / "bm"), "--json", str(tmp_path / "failures.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "failures.json").read_text())
    assert report["hosts"] == len(document["tasks"])
    wrong = sum(one["drawn"] * (1 - one["one_sample"]) for one in document["tasks"])
    assert sum(report["kinds"].values()) == pytest.approx(wrong)
    assert {name: table["hosts"] for name, table in report["groups"]["anion"].items()} == {
        name: row["tasks"] for name, row in document["by_anion"].items() if name != "all"
    }
