"""docs/archive.md: the example runs, and the schema is the one of the code."""

import re
import warnings
from pathlib import Path

import pytest
from made_up_results import write_units

from inpaint_hpc.archive.collect import collect
from inpaint_hpc.archive.schema import CHILDREN, SCHEMA_VERSION, TABLES, column, offsets_of

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


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_described_with_its_unit(table):
    described = dict(re.findall(rf"^\| /{table}/(\w+) \|[^|]+\|([^|]*)\|", DOCS, re.MULTILINE))
    expected = [*TABLES[table], *offsets_of(table)]
    if table == "tasks":
        expected += [*CHILDREN.values(), "seconds_STAGE"]
    assert sorted(described) == sorted(expected)
    for name, unit in described.items():
        assert unit.strip() == column(table, name).unit, name
    assert f"## Schema {SCHEMA_VERSION}" in DOCS
