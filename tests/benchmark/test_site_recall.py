"""`inpaint-hpc benchmark sites`: what counts as found, files with known sites, and going on after an interruption."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from scored_tasks import SITES, SPINEL
from tiny_network import save_tiny_weights

from inpaint_hpc.benchmark.site_recall import KnownHost, compare_sites, known_hosts
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.writing import write_structure
from inpaint_hpc.sites.clustering import network_from_positions

DATA = Path(__file__).parents[1] / "data"
OCTAHEDRAL = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]])


@pytest.fixture
def run(tmp_path):
    weights = save_tiny_weights(tmp_path).path

    def run(source, *more):
        few = ["--single", "2", "--joint", "1", "--rounds", "1", "--steps", "3", "--weights", str(weights)]
        files = [
            "--out",
            str(tmp_path / "bm"),
            "--json",
            str(tmp_path / "out.json"),
            "--csv",
            str(tmp_path / "out.csv"),
        ]
        return CliRunner().invoke(cli, ["benchmark", "sites", str(source), *few, *files, *more])

    return run


def known(sites, others=(), n_guests=None):
    return KnownHost("a", SPINEL, 3, sites, np.reshape(others, (-1, 3)), n_guests, "Li", "a")


def test_recall_and_precision_of_a_network():
    """8a is a site of two copies in this cell, 16c one of four."""
    both = network_from_positions(SPINEL, 3, np.concatenate([SITES, OCTAHEDRAL[:1]]), 0.1)
    assert len(both) == 6 and len(both.orbits) == 2
    # One of the two tetrahedral sites stands for its images.
    found = compare_sites(both, known(SITES[:1]), 0.6)
    assert found["recall"] == 1.0 and found["precision"] == pytest.approx(2 / 6)
    assert found["sampled_on_known"] == pytest.approx(2 / 3) and found["whole_orbits"] is None
    assert compare_sites(both, known(SITES, OCTAHEDRAL), 0.6)["precision"] == 1.0
    assert compare_sites(both, known(SITES, n_guests=2), 0.6)["whole_orbits"]
    assert not compare_sites(both, known(SITES[:1], n_guests=1), 0.6)["whole_orbits"]
    alone = network_from_positions(SPINEL, 3, SITES, 0.1)
    half = compare_sites(alone, known(np.concatenate([SITES, OCTAHEDRAL[:2]])), 0.6)
    assert (half["recall"], half["all_found"], half["precision"]) == (0.5, False, 1.0)


def test_finished_hosts_are_kept(run, tmp_path):
    first = run(DATA / "electrodes.h5", "--limit", "1")
    assert first.exit_code == 0 and "recall" in first.output and "whole orbits" in first.output, first.output
    kept = (tmp_path / "bm" / "hosts.jsonl").read_text()
    # The process was killed while it wrote the second row.
    (tmp_path / "bm" / "hosts.jsonl").write_text(kept + kept[: len(kept) // 2])
    second = run(DATA / "electrodes.h5", "--limit", "2")
    assert second.exit_code == 0, second.output
    assert (tmp_path / "bm" / "hosts.jsonl").read_text().startswith(kept)
    document = json.loads((tmp_path / "out.json").read_text())
    assert json.loads(kept) == document["tasks"][0] and len(document["tasks"]) == 2
    pairs = {pair.name: pair for pair in read_electrodes(DATA / "electrodes.h5")}
    assert all(one["known"] == pairs[one["host"]].n_guest for one in document["tasks"])
    summary = json.loads((tmp_path / "bm" / "results" / "summary.json").read_text())
    assert summary["summary"] == document["summary"] and summary["protocol"] == "sites"
    with (tmp_path / "bm" / "results" / "tasks.csv").open() as file:
        assert [row["host"] for row in csv.DictReader(file)] == [one["host"] for one in document["tasks"]]
    assert (tmp_path / "bm" / "results" / "table.md").read_text().startswith("| guests | hosts | recall |")
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "bm" / "results" / "tasks.csv").read_text()
    other = run(DATA / "electrodes.h5", "--within", "0.5")
    assert other.exit_code == 2 and "is a benchmark with other settings; use another --out" in other.output
    no_archive = CliRunner().invoke(cli, ["score", str(tmp_path / "bm")])
    assert no_archive.exit_code == 2 and "its table is in" in no_archive.output


def test_random_positions_are_a_baseline(run, tmp_path):
    result = run(DATA / "electrodes.h5", "--limit", "2", "--random")
    assert result.exit_code == 0, result.output
    tasks = json.loads((tmp_path / "out.json").read_text())["tasks"]
    assert all(one["positions"] == 2 + one["known"] and one["sites"] > 0 for one in tasks)


def test_packed_files_and_lists_of_known_sites(run, tmp_path):
    small = SPINEL.with_guests([], np.zeros((0, 3)))
    write_packed(tmp_path / "sites.h5", [small])
    with h5py.File(tmp_path / "sites.h5", "a") as file:
        file["guest_z"], file["n_sites"], file["sites_frac_coords"] = [3], [2], SITES.astype("f4")
        file["n_other"], file["other_frac_coords"] = [4], OCTAHEDRAL.astype("f4")
    write_structure(small, tmp_path / "spinel.cif", "cif")
    listed = {
        "sites": {"8a": SITES.tolist(), "16c": OCTAHEDRAL.tolist()},
        "jobs": {"Li=2": {"8a": 2}, "Mg=1": {"8a|16c": 1}},
    }
    (tmp_path / "known.json").write_text(json.dumps({"spinel": listed}))
    (packed,) = known_hosts([tmp_path / "sites.h5"])
    assert packed.ion == 3 and np.allclose(packed.sites, SITES) and len(packed.others) == 4
    hosts = {one.name: one for one in known_hosts([tmp_path / "known.json"])}
    assert {name: len(one.sites) for name, one in hosts.items()} == {"spinel+Li": 2, "spinel+Mg": 6}
    assert len(hosts["spinel+Li"].others) == 4 and not len(hosts["spinel+Mg"].others)
    result = run(tmp_path / "known.json")
    assert result.exit_code == 0 and "whole orbits" not in result.output, result.output
    assert {one["group"] for one in json.loads((tmp_path / "out.json").read_text())["tasks"]} == {"Li", "Mg"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[1, 2]", "is no list of known sites"),
        ("a.json", b"{", "is no list of known sites"),
        ("a.json", b'{"x": {"sites": {}, "jobs": {"Li=1": {}}}}', "x.cif"),
        ("a.h5", b"no HDF5", "not readable as HDF5"),
        ("missing.h5", None, "no such file"),
        ("missing.json", None, "No such file"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run(tmp_path / name)
    assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "bm").exists()


def test_counts_that_do_not_add_up(run, tmp_path):
    write_packed(tmp_path / "sites.h5", [SPINEL])
    with h5py.File(tmp_path / "sites.h5", "a") as file:
        file["guest_z"], file["n_sites"], file["sites_frac_coords"] = [3], [3], SITES.astype("f4")
    result = run(tmp_path / "sites.h5")
    assert result.exit_code == 2 and "counts do not add up in n_sites and sites_frac_coords" in result.output


def test_files_without_known_sites_and_too_large_hosts(run):
    whole = run(DATA / "smoke.h5")
    assert whole.exit_code == 2 and "has neither electrode pairs nor known sites" in whole.output
    small = run(DATA / "electrodes.h5", "--max-atoms", "2")
    assert small.exit_code == 2 and "see --max-atoms" in small.output
