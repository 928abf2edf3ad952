"""What a report holds, and the file it is written to."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from report import report_records as made

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.local import run_campaign
from inpaint_hpc.errors import InputError
from inpaint_hpc.report.contents import CHUNK, archive_contents, heading
from inpaint_hpc.report.render import render, write_report
from inpaint_hpc.report.sources import source_contents


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return made.write_archive(tmp_path_factory.mktemp("archive") / "archive.h5", made.all_kinds())


@pytest.fixture(scope="module")
def contents(archive):
    with Archive(archive) as opened:
        return archive_contents(opened)


def row(contents, host):
    return next(one for one in contents.rows if one["host"] == host)


def panel(contents, host):
    at = contents.rows.index(row(contents, host))
    return json.loads(contents.chunks[at // CHUNK])[at % CHUNK]


def unpacked(page, name):
    found = re.search(rf'id="{name}">([^<]*)<', page)
    return gzip.decompress(base64.b64decode(found[1])).decode()


def test_confidence_is_of_the_first_candidate_beside_what_most_samples_chose(contents):
    alpha = row(contents, "alpha")
    assert (alpha["site"], alpha["agree"]) == ("2a", 6)
    assert (alpha["most_site"], alpha["most_agree"], alpha["confidence"]) == ("2b", 8, 0.46)
    assert "disagree" in alpha["flags"] and panel(contents, "alpha")["most"] == 2


def test_energies_are_compared_within_a_task(contents):
    found = panel(contents, "alpha")["candidates"]
    assert [one["energy"] for one in found] == [-4.75, -4.71, -4.45]
    assert [one["above"] for one in found] == pytest.approx([0, 40, 300], abs=0.2)
    assert row(contents, "alpha")["voltage"] == pytest.approx(4.75 - 1.88035, abs=1e-4)


def test_energies_by_another_treatment_stay_out_of_the_table(contents):
    found = row(contents, "relaxed")
    assert found["energy"] is None and found["voltage"] is None and "treatment" in found["flags"]
    assert panel(contents, "relaxed")["candidates"][0]["energy"] == -4.8
    assert contents.facts["treatment"] == "none"


def test_numbers_of_guests_make_a_hull(contents):
    filling = panel(contents, "lambda")["filling"]
    assert [one["guests"] for one in filling["filled"]] == [1, 2, 4]
    assert filling["against"] == "Li/Li+" and len(filling["steps"]) > 1
    assert (filling["unit"], filling["units"], filling["x_empty"]) == ("MnO2", 4, 0)
    assert [one["formula"] for one in filling["most_by_charge"]["limits"]] == ["LiMnO2", "Li2MnO2"]
    assert "filling" not in panel(contents, "alpha")


def test_a_hull_takes_the_lowest_candidate_which_need_not_be_the_first(tmp_path):
    one, two = made.filled(1), made.filled(2)
    places = [[0.1, 0.2, 0.3], [0.6, 0.2, 0.3]]
    ranked = [made.candidate(0, "8a", places, -5.3, 12, 12), made.candidate(1, "16c", places, -5.4, 4, 12)]
    two = replace(two, candidates=ranked, samples=made.samples([12, 4], 2))
    with Archive(made.write_archive(tmp_path / "two.h5", [one, two])) as opened:
        contents = archive_contents(opened)
    energies = [step["intercalation_energy_eV"] for step in panel(contents, "lambda")["filling"]["filled"]]
    assert energies == pytest.approx([-5.4 + 1.88035, -5.4 + 1.88035], abs=1e-4)


def test_what_has_no_place_stands_last(contents):
    assert [one["host"] for one in contents.rows[-2:]] == ["full", "broken"]
    assert panel(contents, "broken")["error"].startswith("ValueError") and contents.facts["failed"] == 1


def test_a_search_for_sites_is_a_result(contents):
    assert row(contents, "network")["site"] == "8a"
    assert [one["around"] for one in panel(contents, "network")["sites"]] == ["4 O at 2.01 Å"] * 2


def test_the_heading_names_ions_and_hosts(contents):
    assert heading({"ions": ["Li", "Mg"], "hosts": 7}) == "Where Li and Mg sit in 7 hosts"
    assert heading({"ions": ["Li"], "hosts": 1}) == "Where Li sits in 1 host"
    assert heading({"ions": ["Li", "Na", "K", "Mg"], "hosts": 12000}) == "Where 4 ions sit in 12,000 hosts"
    assert contents.facts["ions"][0] == "Li"


def test_top_keeps_the_first_rows_and_counts_all(archive, contents):
    with Archive(archive) as opened:
        first = archive_contents(opened, top=2)
    assert first.rows == contents.rows[:2] and first.facts["tasks"] == 8 and first.facts["shown"] == 2


def test_a_report_that_is_too_large_says_how_to_make_a_smaller_one(contents, tmp_path):
    with pytest.raises(InputError, match=r"--top \d+ shows that many"):
        write_report(contents, tmp_path / "report.html", limit_mb=0.01)
    assert not (tmp_path / "report.html").exists()


def test_only_what_the_policy_names_can_run(contents):
    page = render(contents).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for text in (script, style, unpacked(page, "viewer")):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert ".innerHTML" not in script and "http:" not in script.replace("http://www.w3.org/2000/svg", "")


def test_names_are_escaped_where_they_stand_in_the_page(tmp_path):
    name = '</script><script>alert(1)</script>"\u202eabc'
    path = made.write_archive(tmp_path / "hostile.h5", [made.record(name, (3,), [], [], samples=[])])
    with Archive(path) as opened:
        page = render(archive_contents(opened)).decode()
    assert "alert(1)</script>" not in page and "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page and "⟨202E⟩abc" in page


def test_the_same_archive_gives_the_same_file(contents):
    assert render(contents) == render(contents)


def test_the_json_of_a_call_gives_the_same_report(tmp_path, weights):
    arguments = ["inpaint", str(made.MNO2 / "lambda_mp-25275.cif"), "--guest", "Li", "--samples", "3", "--steps", "4"]
    more = ["--weights", str(weights), "--no-score", "--out", str(tmp_path), "--archive", str(tmp_path / "one.h5")]
    result = CliRunner().invoke(cli, [*arguments, *more])
    assert result.exit_code == 0, result.output
    one, other = source_contents(tmp_path / "one.h5"), source_contents(tmp_path / "results.json")
    drop = {"id", "note"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in one.rows] == [
        {k: v for k, v in row.items() if k not in drop} for row in other.rows
    ]
    (first,), (second,) = json.loads(one.chunks[0]), json.loads(other.chunks[0])
    assert first["candidates"] == second["candidates"] and first["frac"] == second["frac"]


def test_the_command_writes_a_file_and_says_what_is_in_it(archive, tmp_path):
    result = CliRunner().invoke(cli, ["report", str(archive), "-o", str(tmp_path / "r.html"), "--top", "3"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{tmp_path / 'r.html'}: 3 of 8 results, ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", '{"hosts": [{}]}', "not a results.json"),
        ("results.json", "nothing", "neither an archive nor JSON"),
        ("archive.h5", "nothing", "archive.h5"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    result = CliRunner().invoke(cli, ["report", str(tmp_path / name)])
    assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1


def test_a_campaign_has_a_report_once_it_is_collected(make_run, tmp_path):
    run = make_run(samples=2)
    arguments = ["report", str(run.path), "-o", str(tmp_path / "report.html")]
    early = CliRunner().invoke(cli, arguments)
    assert early.exit_code == 2 and "inpaint-hpc collect" in early.output and early.output.count("\n") == 1
    run_campaign(run, "inline")
    collect_run(run)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0 and "7 results" in result.output, result.output


def test_known_sites_are_counted(tmp_path):
    known = made.apart()
    path = made.write_archive(tmp_path / "archive.h5", [replace(known, reference_frac_coords=np.zeros((1, 3)))])
    with Archive(path) as opened:
        found = archive_contents(opened)
    assert (found.facts["known"], found.facts["known_right"]) == (1, 1)
    assert panel(found, "alpha")["known"] == {"rank": 0, "rmsd": 0.0, "first": True}


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_archives_of_earlier_schemas_have_a_report(version):
    found = source_contents(made.MNO2.parents[2] / "tests" / "data" / "golden" / f"archive-{version}.h5")
    assert len(found.rows) == 12 and all(one["confidence"] is None for one in found.rows)
    assert any(one["candidates"] for chunk in found.chunks for one in json.loads(chunk))
