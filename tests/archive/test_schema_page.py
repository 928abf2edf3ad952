"""docs/archive.md: the example runs, and the schema is the one of the code."""

import re
import warnings
from pathlib import Path

from made_up_results import write_units

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.schema import SCHEMA_VERSION, TABLES
from inpaint_hpc.archive.schema_page import lines

DOCS = (Path(__file__).parents[2] / "docs" / "archive.md").read_text(encoding="utf-8")


def test_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert len(code.strip().splitlines()) == 10
    collect(write_units(tmp_path, 20, 10), tmp_path / "archive.h5")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, {})
    assert len(list(tmp_path.glob("*.cif"))) == 5
    output = capsys.readouterr().out
    assert "impossible samples: 0." in output
    assert "ValueError: kaputt, ü" in output


def test_the_table_of_datasets_is_that_of_the_code():
    table = [line for line in DOCS.splitlines() if line.startswith("| /") or line.startswith("| dataset")]
    assert table == [line for line in lines() if not line.startswith("|---")]
    assert f"## Schema {SCHEMA_VERSION}" in DOCS
    newest = max((what.since for columns in TABLES.values() for what in columns.values()), key=_number)
    assert newest == SCHEMA_VERSION


def _number(version):
    return [int(part) for part in version.split(".")]
