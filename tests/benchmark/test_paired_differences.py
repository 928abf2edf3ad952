"""Two benchmarks against each other: what differs by a known amount."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from scored_tasks import SITES, SPINEL, WRONG, record

from inpaint_hpc.archive.write import write_result
from inpaint_hpc.benchmark.paired_differences import paired_differences
from inpaint_hpc.benchmark.score import score_record
from inpaint_hpc.cli.main import cli


def tasks(right, names="abcd", guests=(3,)):
    """One task for each host; those in `right` are solved, by every sample."""
    return [
        record(
            k + 100 * guests[0],
            [SITES if name in right else WRONG] * 2,
            [SITES if name in right else WRONG],
            guests=guests,
            # Each host is another crystal, by less than matters.
            host=replace(SPINEL, name=name, frac_coords=SPINEL.frac_coords + 1e-9 * k),
        )
        for k, name in enumerate(names)
    ]


def test_differences_are_of_pairs():
    first, second = ([score_record(one) for one in made] for made in (tasks("a"), tasks("abc", "abcde")))
    (row,) = paired_differences(first, second)
    assert (row["group"], row["pairs"], row["only_first"], row["only_second"]) == ("Li", 4, 0, 1)
    for name in ("one_sample", "top1", "any_k"):
        assert (row[name]["first"], row[name]["second"], row[name]["difference"]) == (0.25, 0.75, 0.5)
        assert row[name]["low"] < 0.5 < row[name]["high"]
    (same,) = paired_differences(first, first)
    assert (same["top1"]["difference"], same["top1"]["low"], same["top1"]["high"]) == (0.0, 0.0, 0.0)
    backwards = paired_differences(second, first)[0]["top1"]
    assert backwards["difference"] == -0.5


def test_groups_without_pairs_are_named():
    first = [score_record(one) for one in tasks("a")]
    second = [score_record(one) for one in tasks("a", guests=(11,))] + first
    rows = {row["group"]: row for row in paired_differences(first, second)}
    assert list(rows) == ["Li", "Na", "all"] and rows["Na"]["top1"]["difference"] is None
    assert (rows["Na"]["only_second"], rows["all"]["pairs"], rows["all"]["only_second"]) == (4, 4, 4)


def test_the_verb(tmp_path):
    for name, made in (("a", tasks("a")), ("b", tasks("ab")), ("c", tasks("a", "xy"))):
        write_result(tmp_path / f"{name}.h5", made, {})

    def run(*names):
        options = ["--json", str(tmp_path / "out.json")]
        return CliRunner().invoke(cli, ["benchmark", "compare", *(str(tmp_path / n) for n in names), *options])

    result = run("a.h5", "b.h5")
    assert result.exit_code == 0, result.output
    assert "+25 (+0 to +75)" in result.output
    (row,) = json.loads((tmp_path / "out.json").read_text())["groups"]
    assert row["top1"]["difference"] == pytest.approx(0.25)
    apart = run("a.h5", "c.h5")
    assert apart.exit_code == 2 and "no host with the same guests is in both" in apart.output
    assert run("a.h5", "none.h5").exit_code == 2
