"""The command line as a whole: quick help, one-line errors, exit status."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

import inpaint_hpc
from inpaint_hpc.cli.main import VERBS, cli
from inpaint_hpc.cli.options import choose_device
from inpaint_hpc.cluster.local import CLUSTERS
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.settings import RELAX
from inpaint_hpc.sampling.settings import SAMPLERS
from inpaint_hpc.scoring.chgnet.models import CHGNET_WEIGHTS

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "data" / "smoke.h5"


def run(*args, **keywords):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | keywords.pop("env", {})
    command = [sys.executable, "-m", "inpaint_hpc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, **keywords)


def one_line_error(result, code=2):
    assert result.returncode == code
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_help_lists_every_verb_and_imports_none():
    script = (
        "import sys\n"
        "from inpaint_hpc.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print(sorted(set(sys.modules) & {'torch', 'numpy', 'pymatgen', 'ase', 'h5py', 'rich', 'pydantic', 'chgnet'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    for verb, (_, text) in VERBS.items():
        assert f"{verb}  " in result.stdout
        assert text in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_without_torch(verb):
    """Help of a verb must not wait seconds for torch."""
    script = (
        "import sys\n"
        "from inpaint_hpc.cli.main import cli\n"
        f"cli([{verb!r}, '--help'], standalone_mode=False)\n"
        "print(sorted(set(sys.modules) & {'torch', 'pymatgen', 'ase', 'chgnet', 'matplotlib'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage: ")
    assert result.stdout.splitlines()[-1] == "[]"


def test_verbs_are_click_commands_of_their_name():
    context = click.Context(cli)
    for verb in VERBS:
        assert isinstance(cli.get_command(context, verb), click.Command)
    assert cli.get_command(context, "nonsense") is None


def test_choices_of_options_are_those_of_the_library():
    """They are written twice, because the library would import torch before the help appears."""

    def choices(verb):
        options = cli.get_command(click.Context(cli), verb).params
        return {one.name: tuple(one.type.choices) for one in options if isinstance(one.type, click.Choice)}

    assert {"sampler": SAMPLERS, "relax": RELAX, "chgnet": CHGNET_WEIGHTS}.items() <= choices("inpaint").items()
    assert choices("run")["cluster"] == CLUSTERS
    assert choices("resume")["cluster"] == ("slurm", *CLUSTERS)


def test_version():
    result = run("--version")
    assert result.returncode == 0
    assert inpaint_hpc.__version__ in result.stdout


def test_no_arguments_show_the_help():
    result = run()
    assert result.returncode == 2
    assert "Usage: inpaint-hpc" in result.stderr


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["nonsense"], "No such command 'nonsense'. See 'inpaint-hpc --help'."),
        (["--nonsense"], "No such option '--nonsense'"),
        (["pack"], "Missing argument 'INPUTS...'. See 'inpaint-hpc pack --help'."),
        (["pack", "no-such.cif", "--out", "x.h5"], "no-such.cif: no such file or folder"),
        (["pack", SMOKE, "--out", "x.h5", "--max-atoms", "0"], "'--max-atoms': 0 is not in the range x>=1"),
    ],
)
def test_mistakes_are_one_line(args, match):
    assert match in one_line_error(run(*args))


def test_debug_shows_the_traceback_wherever_it_stands():
    args = ["pack", "no-such.cif", "--out", "x.h5"]
    for result in (run("--debug", *args), run(*args, "--debug"), run(*args, env={"INPAINT_HPC_DEBUG": "1"})):
        assert result.returncode != 0
        assert "Traceback" in result.stderr
        assert "InputError: no-such.cif" in result.stderr
    assert "Traceback" not in run(*args, env={"INPAINT_HPC_DEBUG": "0"}).stderr


def test_errors_look_the_same_in_clicks_test_runner():
    result = CliRunner().invoke(cli, ["pack", "no-such.cif", "--out", "x.h5"])
    assert result.exit_code == 2
    assert result.stderr == "Error: no-such.cif: no such file or folder\n"
    assert result.stdout == ""


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "out.h5"
    message = one_line_error(run("pack", SMOKE, "--out", out, preexec_fn=small_files_only))
    assert message == f"Error: {out}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'}" in one_line_error(run("pack", SMOKE, "--out", tmp_path / "file" / "out.h5"))


def test_interrupt_is_one_line(tmp_path):
    """Ctrl-C in a verb that is at work: a verb of this test's own, which says when it has begun."""
    (tmp_path / "waiting.py").write_text(
        "import click, time\n@click.command()\ndef waiting():\n    print('begun', flush=True)\n    time.sleep(600)\n"
    )
    # A shell that starts its jobs in the background has them ignore SIGINT, and children inherit that.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from inpaint_hpc.cli.main import VERBS, cli\nVERBS['waiting'] = ('waiting', '')\ncli(['waiting'])"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    assert stderr.strip() == "Error: interrupted"


def test_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m inpaint_hpc doctor --json | head -c 1"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.stdout == "{"
    assert result.stderr == ""


def test_doctor_reports_what_is_installed():
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert report["inpaint_hpc"] == inpaint_hpc.__version__
    assert report["packages"]["torch"] == __import__("torch").__version__
    assert report["cpu"]["cores"] >= 1
    assert report["devices"][0]["name"] == "cpu"
    assert report["slurm"].keys() >= {"sbatch", "squeue"}
    assert result.returncode == (1 if report["problems"] else 0)
    text = CliRunner().invoke(cli, ["doctor"])
    assert text.exit_code == result.returncode
    assert f"torch          {report['packages']['torch']}" in text.stdout


def test_doctor_says_what_becomes_of_gpus():
    """Six are promised to this job, and torch has a reason not to see them all."""
    environment = {"SLURM_GPUS_ON_NODE": "6", "CUDA_VISIBLE_DEVICES": "0,0"}
    report = json.loads(run("doctor", "--json", env=environment).stdout)
    assert report["gpus"]["names"] == [] and "names a GPU twice" in report["gpus"]["notes"][0]
    assert report["devices"][0]["kernels"] == "torch's operations (kernels are for GPUs)"
    assert "gpus           6 of 6 GPUs are unused" in run("doctor", env=environment).stdout


def test_doctor_finds_the_shipped_weights_intact():
    report = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert report["weights"]
    assert all(weights["verified"] for weights in report["weights"])
    assert report["problems"] == []


def test_doctor_finds_slurm(tmp_path):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    report = json.loads(CliRunner().invoke(cli, ["doctor", "--json"], env=environment).stdout)
    assert report["slurm"]["sbatch"] == str(sbatch)


def test_a_command_says_why_it_leaves_gpus_unused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "2")
    assert choose_device("auto") == "cpu" and choose_device("cuda:1") == "cuda:1"
    assert capsys.readouterr().err.startswith("on the CPU: 2 of 2 GPUs are unused: torch")
    with pytest.raises(InputError, match="2 of 2 GPUs are unused"):
        choose_device("cuda")
