"""`inpaint-hpc show`, on recorded results of a campaign and on an archive with everything that may occur."""

import json
import shutil
from pathlib import Path

import pytest
from archive.made_up_results import WEIGHTS, make_record
from click.testing import CliRunner
from example_hosts import SPINEL

from inpaint_hpc.analysis.archive_overview import QUANTITIES, overview
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.result_archive import archive_networks
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cli import show as verb
from inpaint_hpc.cli.main import cli
from inpaint_hpc.sites.clustering import network_from_positions

RECORDED = Path(__file__).parents[1] / "data" / "recorded"
OLD = Path(__file__).parents[1] / "data" / "golden" / "archive-1.0.h5"


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A finished run of four tasks, collected."""
    run = tmp_path_factory.mktemp("run") / "finished"
    shutil.copytree(RECORDED / "finished", run)
    collect_run(RunDirectory(run))
    return run


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Forty tasks, some failed or without candidates."""
    path = tmp_path_factory.mktemp("archive") / "archive.h5"
    write_result(path, [make_record(k, newest=True) for k in range(40)], WEIGHTS)
    return path


def show(*arguments):
    return CliRunner().invoke(cli, ["show", *map(str, arguments)])


def test_a_run_and_its_archive_are_shown_alike(run_directory):
    of_run, of_file = show(run_directory), show(run_directory / "archive.h5")
    assert of_run.exit_code == 0, of_run.output
    assert of_run.output == of_file.output
    for text in ("tasks       4: 4 done, 0 failed", "30 drawn, 8 possible", "tiny (ecb6bb030ea2)", "CHGNet 0.3.0"):
        assert text in of_run.output


@pytest.mark.parametrize("by", [*QUANTITIES, None])
def test_what_is_printed_fits_80_columns(archive, by):
    result = show(archive, *(["--by", by] if by else []))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    assert "kaputt" in result.output


def test_numbers_agree_with_the_tables_of_the_archive(archive, tmp_path):
    out = tmp_path / "show.json"
    assert show(archive, "--by", "agreement", "--top", 7, "--json", out).exit_code == 0
    found = json.loads(out.read_text())
    with Archive(archive) as opened:
        tasks, candidates, failures = opened.tasks(), opened.candidates(), opened.failures()
    assert found["tasks"]["failed"] == len(failures) == sum(reason["count"] for reason in found["failures"])
    assert failures.id.tolist()[0] == found["failures"][0]["id"]
    assert found["samples"] == {"drawn": tasks.n_samples.sum(), "possible": tasks.n_valid.sum()}
    assert sum(found["ions"].values()) == sum(len(label.split()) for label in tasks.guests)
    first = candidates[candidates["rank"] == 0]
    assert sum(found["agreement"]["first_candidates"]) == len(first)
    agreements = [row["agreement"] for row in found["best"]]
    assert agreements == first.agreement.sort_values(ascending=False).head(7).tolist()
    stages = found["seconds"]["stages"]
    assert stages["sample"]["total"] == pytest.approx(tasks.seconds_sample.sum())
    assert found["seconds"]["all"] == pytest.approx(sum(stage["total"] for stage in stages.values()))


def test_the_json_names_the_picture_of_each_of_the_best(run_directory, tmp_path):
    out, pictures = tmp_path / "show.json", tmp_path / "pictures"
    result = show(run_directory, "--top", 2, "--json", out, "--pictures", pictures)
    assert result.exit_code == 0 and f"2 pictures in {pictures}" in result.output, result.output
    best = json.loads(out.read_text())["best"]
    assert sorted(row["picture"] for row in best) == sorted(map(str, pictures.iterdir()))
    assert all(row["id"][:8] in row["picture"] for row in best)
    assert show(run_directory, "--json", out).exit_code == 0
    assert not any("picture" in row for row in json.loads(out.read_text())["best"])


def test_the_lowest_energies_come_first_one_for_each_task(run_directory):
    with Archive(run_directory / "archive.h5") as opened:
        best = overview(opened, by="energy_per_guest_eV", top=3)["best"]
    energies = [row["energy_per_guest_eV"] for row in best]
    assert energies == sorted(energies) and len({row["id"] for row in best}) == 3


def test_failures_that_differ_in_numbers_are_one_reason(tmp_path):
    failed = {"status": "failed", "traceback": "", "attempts": 1, "samples": (), "candidates": (), "seconds": {}}
    errors = ["out of memory: 512 MB", "out of memory: 768 MB", "no sites"]
    records = [make_record(k, **failed, error=error) for k, error in enumerate(errors)]
    write_result(tmp_path / "failed.h5", records, WEIGHTS)
    result = show(tmp_path / "failed.h5")
    assert result.exit_code == 0, result.output
    assert f"failed    2 out of memory: 512 MB (e.g. task {records[0].task_id[:12]})" in result.output
    assert "best first candidates" not in result.output


def test_an_archive_without_energies_per_guest_is_sorted_by_agreement():
    result = show(OLD)
    assert result.exit_code == 0 and "best first candidates by agreement" in result.output


@pytest.fixture
def sites_only(tmp_path):
    """An archive without samples and candidates."""
    network = network_from_positions(SPINEL, 3, [[0.125] * 3] * 3, saturated=True)
    return archive_networks(tmp_path / "sites.h5", [network], {}, {"name": "x", "sha256": "ab" * 32})


def test_an_archive_of_sites_has_no_best_candidates(sites_only):
    result = show(sites_only)
    assert result.exit_code == 0 and "candidates  0" in result.output, result.output
    assert "best first candidates" not in result.output and "#" not in result.output


def test_bad_input_gets_one_line(run_directory, sites_only, tmp_path):
    (tmp_path / "text.h5").write_text("no archive")
    for arguments, says in (
        ([OLD, "--by", "energy_per_guest_eV"], "no task has energy_per_guest_eV; known are agreement"),
        ([sites_only, "--by", "agreement"], "no task has agreement"),
        ([OLD, "--by", "beauty"], "'beauty' is not one of"),
        ([RECORDED / "half-finished"], "has no archive yet; `inpaint-hpc status"),
        ([tmp_path / "none.h5"], "no such file"),
        ([tmp_path / "text.h5"], "not readable"),
        ([run_directory, "--json", tmp_path], "is a directory"),
    ):
        result = show(*arguments)
        assert result.exit_code == 2 and says in result.output, result.output
        assert len(result.output.splitlines()) == 1


def test_choices_of_the_command_are_the_quantities():
    assert set(verb.show.params[1].type.choices) == set(QUANTITIES)
