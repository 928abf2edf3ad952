"""The shell that starts the tool: terminals, locales, notebooks, users without a name or a home."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inpaint_hpc.environment import VARIABLES, settle_process

ROOT = Path(__file__).parents[1]
LAMBDA = next((ROOT / "inpaint_hpc" / "examples" / "mno2").glob("lambda*.cif"))
NOTEBOOK = "module://matplotlib_inline.backend_inline"
NOBODY = 54321
TEXT_MODE = {"read_text", "write_text", "open", "fdopen", "NamedTemporaryFile", "TextIOWrapper"}
FEW = ("--guest", "Li", "--samples", "2", "--steps", "4")


def run(*words, as_nobody=False, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "inpaint_hpc", *map(str, words)]
    if as_nobody:
        # May read everything, as the interpreter may lie in the home folder of root.
        for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
            environment.pop(name, None)
        environment |= variables
        capabilities = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *capabilities, *command]
    return subprocess.run(command, capture_output=True, env=environment, timeout=600)


@pytest.fixture
def open_folder():
    """A folder that every user can reach and write to."""
    import tempfile

    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def said(result):
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    return result.stdout


# The second was removed from matplotlib, and still stands in many a .bashrc.
@pytest.mark.parametrize("backend", [NOTEBOOK, "Qt4Agg"])
def test_the_backend_of_a_notebook(tmp_path, backend):
    said(run("inpaint", LAMBDA, *FEW, "--out", tmp_path / "o", MPLBACKEND=backend))
    assert (tmp_path / "o" / "results.json").exists()


def test_workers_with_the_backend_of_a_notebook(make_config, tmp_path):
    config = make_config(hosts=[{"path": str(LAMBDA)}], pipeline={"score": True}, resources={"device": "cpu"})
    (tmp_path / "c.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert b"(1 done, 0 failed)" in said(run("run", tmp_path / "c.yaml", "--actors", "1", MPLBACKEND=NOTEBOOK))


# Commands one after the other in one process, since each would import torch; NUL ends what each says on both streams.
SEVERAL = """
import sys
from inpaint_hpc.cli.main import main
words = sys.argv[1:] + [";"]
while words:
    end = words.index(";")
    sys.argv[1:], words = words[:end], words[end + 1 :]
    try:
        main()
    except SystemExit as done:
        print(f"{done.code}\\0", end="", flush=True)
        print("\\0", end="", flush=True, file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_host_whose_name_the_terminal_cannot_show(tmp_path, encoding):
    """Greek letters; and in UTF-8 a byte of a name in another encoding."""
    folder = os.fsencode(tmp_path)
    name = "λ-MnO2".encode() if encoding != "utf-8" else b"\xe9-MnO2"
    shown = {"latin-1": rb"\u03bb-MnO2", "ascii": rb"\u03bb-MnO2", "utf-8": rb"\xe9-MnO2"}[encoding]
    path = os.path.join(folder, name + b".cif")
    shutil.copy(os.fsencode(LAMBDA), path)
    words = ("inpaint", os.fsdecode(path), *FEW, "--no-score", "--out", str(tmp_path / "o"))
    missing = ("inpaint", f"{os.fsdecode(path)}x", *FEW)
    command = [sys.executable, "-c", SEVERAL, *words, ";", *words, "--json", ";", *missing]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    table, answer, nothing = done.stdout.split(b"\0")[:3]
    assert shown in table and table.endswith(b"\n0")
    assert answer.endswith(b"\n0")
    assert json.loads(answer[:-1])["hosts"][0]["host"] == name.decode("utf-8", "backslashreplace")
    error = done.stderr.split(b"\0")[2]
    assert nothing == b"2" and error.count(b"\n") == 1 and b"-MnO2.cifx: no such file" in error


def test_a_host_whose_name_is_in_another_encoding_can_be_written(make_config, tmp_path):
    from inpaint_hpc.crystals.packed import read_packed

    folder = tmp_path / "hosts"
    folder.mkdir()
    shutil.copy(LAMBDA, os.path.join(os.fsencode(folder), b"\xe9-MnO2.cif"))
    (tmp_path / "c.yaml").write_text(make_config(hosts=[{"path": str(folder)}]).to_yaml(), encoding="utf-8")
    assert b"(1 done, 0 failed)" in said(run("run", tmp_path / "c.yaml", "--cluster", "inline"))
    said(run("pack", folder / os.fsdecode(b"\xe9-MnO2.cif"), "--out", tmp_path / "packed.h5"))
    assert [crystal.name for crystal in read_packed(tmp_path / "packed.h5")] == [r"\xe9-MnO2"]


def test_files_are_utf_8_whatever_the_locale():
    found = []
    for path in sorted((ROOT / "inpaint_hpc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function, given = ast.unparse(node.func), {word.arg for word in node.keywords}
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            opens = function.rpartition(".")[2] in TEXT_MODE and function != "os.open"
            # Their `open` opens no file; `read_text` of `crystals/text_files.py` knows its encoding.
            ours = function.startswith(("claims.", "self.claims.", "rendezvous.")) or function == "read_text"
            binary = any("b" in text for text in texts if isinstance(text, str) and len(text) < 4)
            process = function.startswith("subprocess.") and given & {"text", "universal_newlines"}
            if ((opens and not binary and not ours) or process) and "encoding" not in given:
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def test_a_user_without_a_name_and_a_home(open_folder):
    said(run("inpaint", LAMBDA, *FEW, "--out", open_folder / "o", as_nobody=True, TMPDIR=str(open_folder)))
    (cache,) = open_folder.glob("inpaint_hpc-no-home-*")
    assert cache.stat().st_uid == NOBODY and cache.stat().st_mode & 0o077 == 0
    # What is written with ~ must not end in that folder.
    for words in (("inpaint", "~/x.cif", *FEW), ("submit", "x.yaml", "--profile", "~/x.yaml")):
        text = f"hosts: [{{examples: mno2}}]\nguests: [{{Li: 1}}]\noutput: {open_folder}/run\n"
        (open_folder / "x.yaml").write_text(text, encoding="utf-8")
        words = [open_folder / word if word == "x.yaml" else word for word in words]
        refused = run(*words, as_nobody=True, TMPDIR=str(open_folder))
        assert refused.returncode == 2
        assert b"the home folder is not known here" in refused.stderr and refused.stderr.count(b"\n") == 1


def test_accounts_of_a_user_without_a_name(open_folder):
    """Nobody can say which accounts are theirs, so sbatch decides."""
    fake = open_folder / "sacctmgr"
    fake.write_text("#!/bin/sh\necho lab\n")
    fake.chmod(0o755)
    code = "from inpaint_hpc.cluster.slurm.commands import accounts; print(accounts())"
    environment = {"PATH": f"{open_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    capabilities = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *capabilities]
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


def test_a_home_that_cannot_be_written(open_folder):
    home = open_folder / "home"
    home.mkdir(mode=0o555)
    out = open_folder / "o"
    result = run("inpaint", LAMBDA, *FEW, "--out", out, as_nobody=True, HOME=str(home), TMPDIR=str(open_folder))
    said(result)
    assert b"Matplotlib" not in result.stderr
    assert list(home.iterdir()) == []


def test_a_folder_that_others_made_is_not_used_for_caches(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/tmp/inpaint_hpc-no-home-of-the-submitting-machine")
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    settle_process()
    expected = tmp_path / f"inpaint_hpc-no-home-{os.getuid()}"
    assert os.environ["HOME"] == str(expected)
    expected.chmod(0o777)
    settle_process()
    other = Path(os.environ["HOME"])
    assert other != expected and other.stat().st_mode & 0o077 == 0
