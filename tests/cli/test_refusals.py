"""A command that is refused has written nothing, not even the folder of its output."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from inpaint_hpc.cli.main import cli

DATA = Path(__file__).parents[1] / "data"
WBM = ["benchmark", "wbm", str(DATA / "smoke.h5"), "--limit", "1", "--out", "a/b"]
ELECTRODES = ["benchmark", "electrodes", str(DATA / "electrodes.h5"), "--limit", "1", "--out", "a/b"]
MNO2 = ["benchmark", "mno2", "a/b"]
DEMO = ["demo", "--out", "a/b"]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The line on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def invoke(*arguments, before=()):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(before)
        return result.stderr

    return invoke


@pytest.mark.parametrize("command", [WBM, ELECTRODES, MNO2, DEMO])
def test_weights_or_a_device_that_are_not_here(refused, command):
    assert "no weights 'none'" in refused(*command, "--weights", "none")
    assert "no CUDA device" in refused(*command, "--device", "cuda")


@pytest.mark.parametrize("verb", ["run", "submit"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weights: none", "no weights 'none'"),
        ("sampling: {sigma_max: 9}", "outside of what the network was trained for"),
        ("resources: {edge_budget: 1}", "one sample needs an edge budget"),
    ],
)
def test_a_configuration_that_no_campaign_can_have(refused, tmp_path, monkeypatch, verb, change, message):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").symlink_to("/bin/true")  # of a SLURM that has not been asked for anything yet
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "c.yaml").write_text(f"output: a/b\nhosts: {{examples: mno2}}\nguests: [{{Li: 1}}]\n{change}\n")
    assert message in refused(verb, "c.yaml", before=["bin", "c.yaml"])


def test_jobs_where_there_is_no_slurm(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no 'sbatch' in PATH" in refused(*WBM, "--cluster", "slurm")
    (tmp_path / "c.yaml").write_text("output: a/b\nhosts: {examples: mno2}\nguests: [{Li: 1}]\n")
    assert "no 'sbatch' in PATH" in refused("submit", "c.yaml", before=["c.yaml"])
