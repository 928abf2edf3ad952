"""`inpaint-hpc run` and `resume` as users see them, without Ray (test_ray.py has it)."""

import pytest
from click.testing import CliRunner

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.cli.main import cli


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(tiny_config(guests=("Li",)).to_yaml())
    return path


def invoke(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_run_ends_with_a_table_and_an_archive_and_is_done_once(config_file, tmp_path):
    result = invoke("run", config_file, "--cluster", "inline", "--top", "3")
    assert result.exit_code == 0, result.output
    archive = tmp_path / "run" / "archive.h5"
    with Archive(archive) as opened:
        assert len(opened) == 7
    assert f"{archive}: 7 tasks (7 done, 0 failed)" in result.stdout.replace("\n", "")
    assert "Best candidate of each task" in result.stdout and result.stdout.count("Li=1") == 3
    assert "7 tasks of 7 hosts" in result.stderr
    again = invoke("run", config_file, "--cluster", "inline", "--no-collect")
    assert again.exit_code == 0 and "inpaint-hpc collect" in again.stdout and "samples in" not in again.stderr


def test_resume_does_again_what_is_damaged_unless_told_not_to_look(config_file, tmp_path):
    run = tmp_path / "other"
    assert invoke("run", config_file, "--out", run, "--cluster", "inline").exit_code == 0
    victim = next(run.glob("results/*/shard-*.h5"))
    victim.write_bytes(victim.read_bytes()[:-100])
    blind = invoke("resume", run, "--cluster", "inline", "--no-verify")
    assert blind.exit_code == 1
    assert "left out:" in blind.stderr and f"`inpaint-hpc resume {run}` runs them" in blind.stderr
    result = invoke("resume", run, "--cluster", "inline")
    assert result.exit_code == 0, result.output
    assert "will be computed again" in result.stderr and "7 tasks (7 done, 0 failed)" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "missing.yaml"], "missing.yaml"),
        (["resume", "."], "not a run directory"),
        (["resume", "nowhere"], "no such run directory"),
        (["run", "campaign.yaml", "--cluster", "cloud"], "'cloud' is not one of"),
        (["run", "campaign.yaml", "--actors", "0"], "--actors"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(config_file, monkeypatch, words, said):
    monkeypatch.chdir(config_file.parent)
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ") and said in result.stderr and result.stderr.count("\n") == 1


def test_cuda_must_be_there(config_file):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = invoke("run", config_file, "--device", "cuda", "--cluster", "inline")
    assert result.exit_code == 2 and "no CUDA device is available" in result.stderr
