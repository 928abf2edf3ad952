"""A campaign with `remove:` is scored from its archive alone."""

import csv
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from scored_tasks import SITES, SPINEL, WRONG, record

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.rows import Relaxed
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.benchmark.score import score_record, score_tasks, summary
from inpaint_hpc.cli.main import cli
from inpaint_hpc.errors import InputError


def test_shares_of_samples_and_ranks_of_candidates():
    one = score_record(record(1, [SITES, SITES[::-1], WRONG, WRONG], [WRONG, SITES]))
    assert (one.guests, one.n_guests, one.n_atoms, one.drawn) == ("Li2", 2, 12, 4)
    assert (one.one_sample, one.top1, one.any, one.right_rank) == (0.5, False, True, 1)
    assert one.rmsd is None and one.sample_rmsd == pytest.approx(0.0, abs=1e-6) and one.seconds == 2.0
    none = score_record(record(2, [], []))
    assert (none.one_sample, none.top1, none.any, none.right_rank, none.rmsd) == (0.0, False, False, None, None)
    assert score_record(replace(record(3, [SITES], [SITES]), reference_frac_coords=None)) is None


def test_ranks_by_energy_and_by_agreement():
    ranked = record(1, [SITES, SITES], [WRONG, WRONG + 0.01, SITES])
    agreements = (0.1, 0.3, 0.6)
    candidates = [replace(c, agreement=share) for c, share in zip(ranked.candidates, agreements, strict=True)]
    one = score_record(replace(ranked, candidates=candidates))
    assert (one.right_rank, one.right_by_agreement) == (2, 0)
    (row,) = summary([one])
    assert (row["recall"]["2"], row["recall"]["3"], row["recall_by_agreement"]["1"]) == (0.0, 1.0, 1.0)


def test_candidates_count_where_they_come_to_rest():
    moved = record(1, [WRONG], [WRONG])
    relaxed = Relaxed(outcome="converged", steps=3, energy_per_atom=-1.0, max_force=0.0, guest_frac_coords=SITES)
    found = replace(moved, candidates=[replace(moved.candidates[0], relaxed=relaxed)])
    assert not score_record(moved).top1 and score_record(found).top1
    lost = replace(moved.candidates[0], relaxed=Relaxed(outcome="diverged", steps=3), error="it diverged")
    assert not score_record(replace(moved, candidates=[lost])).top1


@pytest.fixture
def archive(tmp_path):
    other = replace(SPINEL, name="other", frac_coords=SPINEL.frac_coords + 1e-9)
    records = [
        record(1, [SITES, WRONG], [SITES]),
        record(2, [SITES], [SITES], guests=(11,), host=other),
        record(3, [WRONG], [WRONG], guests=(11,)),
        replace(record(4, [], [], guests=(12,)), status="failed", error="no room", attempts=1),
    ]
    write_result(tmp_path / "a.h5", records, {"weights_sha256": "0" * 64})
    return tmp_path / "a.h5"


def test_summaries(archive):
    with Archive(archive) as opened:
        scored = score_tasks(opened.iter_records())
    rows = {row["group"]: row for row in summary(scored, "ion")}
    assert list(rows) == ["Li", "Mg", "Na", "all"]
    assert (rows["Li"]["one_sample"], rows["Li"]["top1"]) == (0.5, 1.0)
    assert (rows["Na"]["hosts"], rows["Na"]["top1"], rows["Na"]["any_k"]) == (2, 0.5, 0.5)
    # A task that failed is not right, and is counted.
    assert (rows["Mg"]["failed"], rows["Mg"]["top1"], rows["all"]["tasks"]) == (1, 0.0, 4)
    assert rows["all"]["recall"] == {"1": 0.5, "2": 0.5, "3": 0.5, "5": 0.5, "10": 0.5, "32": 0.5}
    assert rows["Li"]["within_A"]["0.1"] == 1.0 and rows["Mg"]["within_A"]["3.0"] == 0.0
    assert rows["all"]["top1_low"] <= 0.5 <= rows["all"]["top1_high"]
    assert [row["group"] for row in summary(scored, "n_guests")] == ["1", "2", "all"]


def test_the_verb(archive, tmp_path):
    out = tmp_path / "out.json"
    result = CliRunner().invoke(cli, ["score", str(archive), "--json", str(out), "--csv", str(tmp_path / "rows.csv")])
    assert result.exit_code == 0, result.output
    assert "Na" in result.output and "50 %" in result.output and "all" in result.output
    document = json.loads(out.read_text())
    assert list(document["summary"]) == ["Li", "Mg", "Na", "all"]
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task_id"] for row in rows] == [row["task_id"] for row in document["tasks"]]
    assert {row["guests"] for row in rows} == {"Li2", "Na", "Mg"}


def test_an_archive_without_references_is_refused(tmp_path):
    write_result(tmp_path / "b.h5", [replace(record(1, [SITES], [SITES]), reference_frac_coords=None)], {})
    result = CliRunner().invoke(cli, ["score", str(tmp_path / "b.h5")])
    assert result.exit_code == 2 and "no task has a reference" in result.output
    with pytest.raises(InputError, match="no task has a reference"):
        score_tasks([])
