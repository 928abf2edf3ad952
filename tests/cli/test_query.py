"""`inpaint-hpc query` on an archive with everything that may occur."""

import pandas as pd
import pytest
from archive.made_up_results import WEIGHTS, make_record
from click.testing import CliRunner

from inpaint_hpc.analysis.archive_query import candidate_table, query
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Forty tasks, some failed or without candidates."""
    path = tmp_path_factory.mktemp("archive") / "archive.h5"
    write_result(path, [make_record(k, newest=True) for k in range(40)], WEIGHTS)
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["query", *map(str, arguments)])


def test_table_fits_80_columns_and_shows_what_fits(archive):
    result = run(archive, "rank == 0 and energy_per_guest_eV < -3", "--sort", "-agreement", "--top", 5)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    with Archive(archive) as opened:
        table = candidate_table(opened)
    fits = table[(table["rank"] == 0) & (table.energy_per_guest_eV < -3)]
    assert f"5 of the {len(fits)} candidates that fit" in result.output


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_files_have_the_rows_that_fit_with_all_columns(archive, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"found.{format}"
    result = run(archive, 'rank >= 1 and guests in ["Li", "Na"]', f"--{format}", out)
    assert result.exit_code == 0, result.output
    written = pd.read_csv(out) if format == "csv" else pd.read_parquet(out)
    with Archive(archive) as opened:
        table = candidate_table(opened)
    fits = table[(table["rank"] >= 1) & table.guests.isin(["Li", "Na"])]
    assert len(fits) and written["rank"].tolist() == fits["rank"].tolist()
    assert written.host.tolist() == fits.host.tolist()
    assert {"wyckoff", "guest_frac_coords", "potential"} <= set(written.columns)


def test_guests_have_their_wyckoff_positions(archive):
    assert "8a" in run(archive, 'wyckoff == "8a"').output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ('guests == "Li=1"', 'guests == "Li"'),
        ('"Na=1 Li=1" == guests', 'guests == "Li Na"'),
        ('guests in ["Na=1", "Mg1"] and host != "Li=1"', 'guests in ["Na", "Mg"]'),
        ('not guests == "Li=1 Na=1 Mg=1"', 'guests != "Li Na Mg"'),
    ],
)
def test_guests_may_be_written_as_on_the_command_line(archive, given, meant):
    with Archive(archive) as opened:
        found, expected = query(opened, given), query(opened, meant)
    assert len(expected) and found.equals(expected)


def test_parts_of_the_table_are_joined(archive, monkeypatch):
    with Archive(archive) as opened:
        whole, some = candidate_table(opened), query(opened, '(rank == 0\nand wyckoff == "8a")')
        monkeypatch.setattr("inpaint_hpc.archive.read._FRAME_TASKS", 3)
        assert candidate_table(opened).equals(whole)
        assert query(opened, '(rank == 0\nand wyckoff == "8a")').equals(some) and len(some)


def test_nothing_fits(archive):
    result = run(archive, "agreement > 2")
    assert result.exit_code == 0 and result.output.endswith("no candidate fits agreement > 2\n")
    result = run(archive, 'guests == "lithium"')
    assert result.exit_code == 0 and "; guests here: " in result.output and "Li" in result.output.split("here")[1]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("rank == @x", "'@' is not allowed"),
        ("rank @ rank", "'@' is not allowed"),
        ("__import__ == 1", "names with '__'"),
        ("host.__class__ == 1", "names with '__'"),
        ("abs(rank) == 0", "function calls"),
        ("host.str.len() > 3", "function calls"),
        ("rank ** 9 > 1", "only columns"),
        ("host[0] == 1", "only columns"),
        ("'a' * 9 == host", "only columns"),
        ("rank ==", "cannot read"),
        ("", "cannot read"),
        ("rank", "not a condition"),
        ("1 == 1", "not a condition"),
        ("host > 3", "cannot evaluate"),
        ("energy_per_gest_eV < 0", "energy_per_guest_eV"),
    ],
)
def test_bad_expressions_get_one_line(archive, expression, says):
    result = run(archive, expression)
    assert result.exit_code == 2 and says in result.output and len(result.output.splitlines()) == 1


def test_unknown_column_to_sort_by(archive):
    assert "nearest: agreement" in run(archive, "rank == 0", "--sort", "agreements").output
