"""What a job runs is what was submitted, whoever can write to the run directory; needs no SLURM."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from inpaint_hpc.cluster.shard_claims import Claims
from inpaint_hpc.cluster.slurm.collect_job import CollectJob
from inpaint_hpc.cluster.slurm.job_step import same_again
from inpaint_hpc.cluster.slurm.rendezvous import Rendezvous
from inpaint_hpc.cluster.slurm.sbatch import sbatch
from inpaint_hpc.cluster.slurm.site_profiles import load_settings
from inpaint_hpc.cluster.slurm.start import file_digest
from inpaint_hpc.errors import InputError

ROOT = Path(__file__).parents[2]
# What submitit reads in a step of a job.
STEP = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "1",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_JOB_NODELIST": "n1",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def folder_of_job(run):
    folder = run / "slurm" / "7"
    folder.mkdir(parents=True)
    DelayedSubmission(os.mkdir, str(run / "it ran")).dump(folder / "7_submitted.pkl")
    return folder


def start(run, *digests):
    words = ["inpaint_hpc.cluster.slurm.start", run / "slurm" / "%j", *digests]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **STEP}
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=environment)


def assert_refused(done, run):
    assert done.returncode == 1 and not (run / "it ran").exists()
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("open_to_all", [0o777, 0o770, 0o755, 0o700])
def test_folders_that_others_can_write_to_are_closed_before_anything_is_loaded(tmp_path, open_to_all):
    folder = folder_of_job(tmp_path)
    digest = file_digest(folder / "7_submitted.pkl")
    for path in (folder, folder.parent):
        path.chmod(open_to_all)
    done = start(tmp_path, digest, "0" * 64)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "it ran").exists() and mode(folder) == mode(folder.parent) == 0o700


def test_another_pickle_is_not_loaded(tmp_path):
    folder = folder_of_job(tmp_path)
    submitted = file_digest(folder / "7_submitted.pkl")
    DelayedSubmission(os.mkdir, str(tmp_path / "it ran")).dump(folder / "7_submitted.pkl")
    assert_refused(start(tmp_path, "0" * 64), tmp_path)
    assert_refused(start(tmp_path), tmp_path)
    with open(folder / "7_submitted.pkl", "ab") as file:
        file.write(b"\0")
    assert_refused(start(tmp_path, submitted), tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make folders of others")
@pytest.mark.parametrize("whose", ["slurm", "slurm/7"])
def test_folders_of_others_are_refused(tmp_path, whose):
    folder = folder_of_job(tmp_path)
    os.chown(tmp_path / whose, 54321, -1)
    assert_refused(start(tmp_path, file_digest(folder / "7_submitted.pkl")), tmp_path)
    with pytest.raises(InputError, match="not a folder of yours"):
        Rendezvous(tmp_path, "7", 0).open()


def test_links_are_refused(tmp_path):
    folder_of_job(tmp_path / "other")
    (tmp_path / "slurm").symlink_to(tmp_path / "other" / "slurm")
    with pytest.raises(InputError, match="not a folder of yours"):
        Rendezvous(tmp_path, "7", 0).open()


def test_claims_are_closed_too(tmp_path):
    (tmp_path / "claims").mkdir(mode=0o777)
    (tmp_path / "claims").chmod(0o777)
    claims = Claims(tmp_path, "driver")
    claims.open(alone=True)
    assert mode(tmp_path / "claims") == 0o700 and claims.take(0)
    claims.close()


@pytest.mark.parametrize("count", [1, 3])
def test_the_script_has_the_digest_of_what_it_runs(tmp_path, monkeypatch, count):
    """A stand-in for sbatch keeps the script, which SLURM itself would keep."""
    (tmp_path / "run" / "slurm").mkdir(parents=True)
    (tmp_path / "run" / "slurm").chmod(0o777)
    fake = tmp_path / "sbatch"
    keeps = f'for one; do :; done; cp "$one" {tmp_path}/script; echo Submitted batch job 7'
    fake.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ {keeps}; }}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    job, _ = sbatch(tmp_path / "run", load_settings(None, {"time": 10}), [CollectJob("run")] * count)
    folder = tmp_path / "run" / "slurm" / job
    (line,) = [line for line in (tmp_path / "script").read_text().splitlines() if line.startswith("srun")]
    pickles = list(folder.glob("*_submitted.pkl"))
    assert len(pickles) == count and {file_digest(path) for path in pickles} == {line.split()[-1]}
    assert " -m inpaint_hpc.cluster.slurm.start " in line
    assert mode(folder) == mode(folder.parent) == 0o700 and mode(pickles[0]) == 0o600


def test_a_requeue_keeps_the_pickle_as_it_is(tmp_path, monkeypatch):
    """submitit writes it again when SLURM's warning comes early."""
    folder = folder_of_job(tmp_path)
    for name, value in {**STEP, "SUBMITIT_FOLDER": str(tmp_path / "slurm" / "%j")}.items():
        monkeypatch.setenv(name, value)
    again = same_again(CollectJob("run"))
    again.set_timeout(10, 3)
    again.dump(tmp_path / "again.pkl")
    assert file_digest(tmp_path / "again.pkl") == file_digest(folder / "7_submitted.pkl")


@pytest.mark.parametrize("name", ["allocation", "collect"])
def test_jobs_of_older_versions_start_without_a_digest(tmp_path, name):
    """Their script calls submitit itself; what they were to do is no run directory here, so they end with that."""
    folder = folder_of_job(tmp_path)
    queued = Path(__file__).parents[1] / "data" / f"queued_{name}.pkl"
    (folder / "7_submitted.pkl").write_bytes(queued.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **STEP, "SLURM_STEP_NUM_NODES": "1"}
    (tmp_path / "runs" / "half" / "slurm").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "submitit.core._submit", tmp_path / "slurm" / "%j"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert "not a run directory" in done.stderr or "no such run directory" in done.stderr, done.stderr
    assert ("submitted by an older version" in done.stdout) == (name == "allocation")
