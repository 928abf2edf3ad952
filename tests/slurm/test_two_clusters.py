"""Several clusters behind one login node: a campaign's jobs are watched and ended where they are.  Needs no SLURM."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from site_commands import two_clusters

from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.slurm.submissions import submissions
from inpaint_hpc.cluster.slurm.submit import states_of


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Path:
    for name in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS"):
        monkeypatch.delenv(name, raising=False)
    return two_clusters(tmp_path / "bin", monkeypatch)


def _said(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, result.output
    return result.output


def _jobs(site: Path) -> list[str]:
    return (site / "jobs").read_text().splitlines()


@pytest.mark.parametrize("old", [False, True], ids=["parsable", "in words"])
@pytest.mark.parametrize("wanted", ["cm2", "cm1,cm2", "all"])
def test_jobs_are_watched_and_cancelled_on_the_cluster_that_has_them(site, campaign, wanted, old):
    run = campaign("run")
    if old:
        (site / "old").touch()
    said = _said("submit", str(run.path), "--sbatch", f"-M={wanted}")
    assert said.startswith("8\n") or "\n8\n" in said
    assert "job 8 is on cluster cm2" in said and _jobs(site) == ["cm2 8"]
    assert submissions(run)[0].cluster == "cm2"
    assert "8 RUNNING on cm2-n1 of cluster cm2" in _said("status", str(run.path))
    assert "job 8 is running" in _said("submit", str(run.path), "--sbatch", f"-M={wanted}", code=2)
    assert _jobs(site) == ["cm2 8"]
    assert _said("cancel", str(run.path)) == "cancelled 8\n" and _jobs(site) == []


@pytest.mark.parametrize("variable", ["SBATCH_CLUSTERS", "SLURM_CLUSTERS"])
def test_a_cluster_from_the_environment_is_that_of_the_submission_alone(site, campaign, monkeypatch, variable):
    run = campaign("run")
    monkeypatch.setenv(variable, "cm1")
    _said("submit", str(run.path))
    monkeypatch.setenv(variable, "cm2")
    monkeypatch.setenv("SLURM_CLUSTERS", "cm2")
    assert "8 RUNNING on cm1-n1 of cluster cm1" in _said("status", str(run.path))
    _said("submit", str(run.path), "-p", "fast-cm1", "--sbatch", "clusters=cm1", code=2)
    assert _said("cancel", str(run.path)) == "cancelled 8\n" and _jobs(site) == []


def test_partitions_are_those_of_the_cluster(site, campaign):
    run = campaign("run")
    said = _said("submit", str(run.path), "-p", "fast", "--sbatch", "clusters=cm1", code=2)
    assert "no partition 'fast'; choose from fast-cm1\n" in said


def test_jobs_of_two_clusters_with_one_number(site, campaign):
    run = campaign("run")
    _said("submit", str(run.path), "--sbatch", "clusters=cm1")
    _said("cancel", str(run.path))
    _said("submit", str(run.path), "--sbatch", "clusters=cm2")
    assert sorted(one.cluster for one in submissions(run)) == ["cm1", "cm2"]
    state = states_of(run).states["8"]
    assert (state.state, state.cluster) == ("RUNNING", "cm2")
    assert _said("cancel", str(run.path)) == "cancelled 8\n" and _jobs(site) == []


def test_records_from_before_clusters_were_recorded(site, campaign):
    run = campaign("run")
    _said("submit", str(run.path), "--sbatch", "clusters=cm2")
    (path,) = (run.path / "slurm" / "submissions").iterdir()
    record = json.loads(path.read_text())
    del record["cluster"]
    path.rename(path.with_name("8.json"))
    path.with_name("8.json").write_text(json.dumps(record))
    assert submissions(run)[0].cluster == "cm2"
    record["settings"]["extra"] = {}
    path.with_name("8.json").write_text(json.dumps(record))
    assert submissions(run)[0].cluster == ""
    (site / "log").unlink()
    assert "8 UNKNOWN" in _said("status", str(run.path))
    assert "-M" not in (site / "log").read_text()


def test_what_follows_goes_to_the_cluster_that_was_chosen(site, campaign):
    run = campaign("run")
    _said("submit", str(run.path), "--sbatch", "clusters=cm1,cm2", "--collect-after")
    assert _jobs(site) == ["cm2 8", "cm2 9"]
    script = (run.path / "slurm" / "9" / "9_submission.sh").read_text()
    assert re.search(r"^#SBATCH --clusters=cm2$", script, re.MULTILINE) and "afterany:8\n" in script
    assert {one.settings["extra"]["clusters"] for one in submissions(run) if one.kind == "run"} == {"cm1,cm2"}


def test_nothing_is_added_or_called_ended_while_slurm_does_not_tell(site, campaign):
    run = campaign("run")
    _said("submit", str(run.path), "--sbatch", "clusters=cm2")
    (site / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1\n")
    assert "none is added" in _said("submit", str(run.path), "--sbatch", "clusters=cm2", code=2)
    assert "Unable to contact controller" in _said("resume", str(run.path), code=2)
    assert "is unknown" in _said("cancel", str(run.path), code=2)
    assert _jobs(site) == ["cm2 8"]
