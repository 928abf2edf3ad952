"""`inpaint-hpc benchmark figure`: shares against network evaluations, from summaries of results."""

import json
import re

import pytest
from click.testing import CliRunner
from scored_tasks import SITES, WRONG, record

from inpaint_hpc.benchmark.results import document_of, rows_of, write_json
from inpaint_hpc.benchmark.score import score_record
from inpaint_hpc.cli.main import cli


@pytest.fixture
def folders(tmp_path):
    found = []
    for steps, candidates in ((10, [WRONG]), (40, [SITES])):
        scored = [score_record(record(1, [SITES, WRONG], candidates))]
        attributes = {"configuration": {"sampling": {"steps": steps}}, "weights_sha256": "ab" * 32}
        document = document_of(scored, rows_of(scored, "ion", attributes), attributes, by="ion")
        (tmp_path / str(steps) / "results").mkdir(parents=True)
        write_json(tmp_path / str(steps) / "results" / "summary.json", document)
        found.append(str(tmp_path / str(steps)))
    return found


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_line_for_each_weights(folders, tmp_path, kind):
    files = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for path, order in zip(files, (folders, folders[::-1]), strict=True):
        result = CliRunner().invoke(cli, ["benchmark", "figure", *order, "--out", str(path)])
        assert result.exit_code == 0 and "2 benchmarks in" in result.output, result.output
    assert files[0].read_bytes() == files[1].read_bytes()
    if kind == "svg":
        # A share and its line: both benchmarks are in one.
        labels = re.findall(r"<!-- (.*weights.*) -->", files[0].read_text())
        assert labels == [f"{name}, weights abababababab" for name in ("one sample", "first")]


def test_bad_input_is_one_line(folders, tmp_path):
    (tmp_path / "other" / "results").mkdir(parents=True)
    summary = tmp_path / "other" / "results" / "summary.json"
    for content, message in (
        (None, "has no results of a benchmark"),
        ("{", "has no results of a benchmark"),
        ('{"summary": {}}', "has no results of a benchmark"),
        (json.dumps({"summary": {"Li": {"recall": 1.0}}}), "do not say how many network evaluations"),
    ):
        if content is not None:
            summary.write_text(content)
        result = CliRunner().invoke(cli, ["benchmark", "figure", str(tmp_path / "other"), "--out", "a.png"])
        assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1
    wrong = CliRunner().invoke(cli, ["benchmark", "figure", folders[0], "--out", "a.doc"])
    assert wrong.exit_code == 2 and "ends in .png, .svg or .pdf" in wrong.output
