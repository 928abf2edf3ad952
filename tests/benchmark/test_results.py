"""The files of a benchmark's results."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from scored_tasks import SITES, SPINEL, WRONG, record

from inpaint_hpc.benchmark.results import document_of, markdown, rows_of, write_results
from inpaint_hpc.benchmark.score import score_record

FIGURES = ("cumulative", "recall", "guests", "anions", "elements")


def test_every_file(tmp_path):
    hosts = [replace(SPINEL, info=info) for info in ({"e_form": -1.5, "mixed": 1}, {"mixed": "x"})]
    tasks = [record(1, [SITES, WRONG], [SITES], host=hosts[0])]
    tasks += [record(2, [WRONG], [WRONG], guests=(11,), host=hosts[1])]
    scored = [score_record(task) for task in tasks]
    rows = rows_of(scored, "ion", {})
    (tmp_path / "w.json").write_text('{"host": "secret", "device": "cpu", "threads": 2}')
    (tmp_path / "half.json").write_text('{"host": ')
    document = document_of(scored, rows, {}, protocol="wbm", by="ion")
    write_results(tmp_path / "results", scored, document, [tmp_path / "w.json", tmp_path / "half.json"])
    names = {path.name for path in (tmp_path / "results").iterdir()}
    figures = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    pytest.importorskip("pyarrow")
    assert names == {"tasks.csv", "tasks.parquet", "summary.json", "table.md"} | figures
    for table in (
        pd.read_csv(tmp_path / "results" / "tasks.csv"),
        pd.read_parquet(tmp_path / "results" / "tasks.parquet"),
    ):
        assert table["guests"].tolist() == ["Li2", "Na"] and table["e_form"].tolist()[0] == -1.5
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert summary["hardware"]["devices"] == ["cpu"] and summary["hardware"]["nodes"] == 1
    assert summary["hardware"]["task_seconds"] == 4.0 and "secret" not in json.dumps(summary)
    assert summary["summary"]["Li"]["top1"] == 1.0 and "tasks" not in summary
    assert summary["by_anion"]["O"]["tasks"] == 2 and summary["by_training_distance"] is None
    # With the training set there is one more figure.
    near = [replace(one, training_distance=distance) for one, distance in zip(scored, (0.0, 0.07), strict=True)]
    write_results(tmp_path / "results", near, document_of(near, rows, {}, by="ion"))
    assert (tmp_path / "results" / "training.svg").exists()
    ranges = json.loads((tmp_path / "results" / "summary.json").read_text())["by_training_distance"]
    assert {name: row["top1"] for name, row in ranges.items()} == {"0": 1.0, "0.05-0.1": 0.0, "all": 0.5}
    assert SPINEL.name in (tmp_path / "results" / "tasks.csv").read_text()


def test_the_table_is_markdown():
    rows = rows_of([score_record(record(1, [SITES, WRONG], [SITES]))], "ion", {})
    assert markdown(rows, "ion").splitlines() == [
        "| ion | hosts | one sample | first | any | RMSD (A) |",
        "|---|---:|---:|---:|---:|---:|",
        "| Li | 1 | 50 % (50-50) | 100 % (21-100) | 100 % (21-100) | 0.000 |",
    ]
