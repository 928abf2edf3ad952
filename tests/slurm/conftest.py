"""A real SLURM for the tests, brought up once per test process and taken down at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dev_cluster import DevCluster, a_cluster, wait_until

from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.planning.create_run import create_run

CONFIG = """\
output: {output}
hosts: {{examples: mno2, limit: 2}}
guests: [{{Li: 1..3}}]
samples: 2
sampling: {{steps: 4}}
pipeline: {{score: false, redraws: 0}}
resources: {{shard_tasks: 1, threads: 1}}
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevCluster]:
    """Two nodes with two fake GPUs each; modules that need a special one define a fixture of this name."""
    yield from a_cluster()


@pytest.fixture
def slurm(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DevCluster]:
    """The cluster for this process; afterwards all jobs have ended and nothing of theirs is left."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    yield cluster
    cluster.run("scancel", "--full", "--user", str(os.getuid()))
    wait_until(lambda: cluster.run("squeue", "-h") == "", 60, "jobs have ended")
    wait_until(lambda: not _of_jobs(cluster), 30, "processes of jobs have ended")
    assert not [path for path in Path("/tmp").glob("ihpc-*/owner.json") if str(tmp_path) in path.read_text()]


def _of_jobs(cluster: DevCluster) -> list[list[str]]:
    return [p.cmdline() for p in cluster.processes() if "SLURM_JOB_ID" in p.environ()]


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[[str], RunDirectory]:
    """Makes run directories of one small campaign: six tasks in six shards."""

    def make(name: str) -> RunDirectory:
        path = tmp_path / f"{name}.yaml"
        path.write_text(CONFIG.format(output=json.dumps(str(tmp_path / name))))
        run = create_run(load_config(path))
        assert run.n_tasks == run.n_shards == 6
        return run

    return make
