"""`inpaint-hpc benchmark --cluster slurm`: a benchmark in jobs of a real SLURM gives the table of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from campaign_workers import wait_for
from click.testing import CliRunner
from tiny_network import save_tiny_weights

from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.cli.main import cli

pytestmark = pytest.mark.slurm
SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"


def test_the_table_of_two_nodes_with_a_job_cancelled_on_the_way(slurm, tmp_path):
    weights = save_tiny_weights(tmp_path).path

    def run(name, *more):
        what = ["--ions", "Li,Na", "--limit", "6", "--samples", "8", "--steps", "20", "--weights", str(weights)]
        place = ["--out", str(tmp_path / name), "--json", str(tmp_path / f"{name}.json")]
        return CliRunner().invoke(cli, ["benchmark", "wbm", str(SMOKE), *what, *place, *more])

    inline = run("inline", "--cluster", "inline")
    assert inline.exit_code == 0, inline.output
    jobs = ["--cluster", "slurm", "--nodes", "2", "--time", "10", "--cpus-per-task", "1", "--threads", "1"]
    first = run("jobs", *jobs)
    assert first.exit_code == 1 and "the same command gives the table when they are done" in first.output, first.output
    again = run("jobs", *jobs)
    assert again.exit_code == 1 and "tasks are left" in again.output  # no second job for the same tasks
    campaign = RunDirectory(tmp_path / "jobs" / "run")
    wait_for(lambda: bool(campaign.result_paths()), 120, "the first result", campaign)
    assert CliRunner().invoke(cli, ["cancel", str(campaign.path)]).exit_code == 0
    last = run("jobs", *jobs, "--wait")
    assert last.exit_code == 0, last.output
    tables = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("inline", "jobs")]
    for table in tables:
        for row in (*table["tasks"], *table["summary"].values()):
            for name in [name for name in row if name.startswith("seconds")]:
                del row[name]
    assert tables[0]["tasks"] == tables[1]["tasks"] and tables[0]["summary"] == tables[1]["summary"]
