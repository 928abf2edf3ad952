"""The package as people install it."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import inpaint_hpc
from inpaint_hpc.environment import REQUIRED
from inpaint_hpc.files import atomic_path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_public_names_exist_and_are_listed():
    for name in inpaint_hpc.__all__:
        assert getattr(inpaint_hpc, name).__name__ == name
        assert name in dir(inpaint_hpc)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        inpaint_hpc.nonsense  # noqa: B018 (the access is the test)


def test_import_is_cheap():
    script = "import sys, inpaint_hpc; print(sorted(set(sys.modules) & {'torch', 'numpy', 'pymatgen', 'ase'}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]", result.stderr


def test_version_and_dependencies_are_stated_once():
    assert "version" in PROJECT["dynamic"]
    assert sorted(Requirement(line).name for line in PROJECT["dependencies"]) == sorted(REQUIRED)


def test_constraints_pin_every_dependency_inside_its_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {name.lower(): version for name, version in pins.items()}
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), line


def test_atomic_path_replaces_only_on_success(tmp_path):
    target = tmp_path / "folder" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("first")
        assert not target.exists()
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_documentation_names_what_exists(page):
    """Modules and names that examples import, and modules of the package that are named by path."""
    text = page.read_text()
    for module, names in re.findall(r"^from (inpaint_hpc[\w.]*) import (.+)$", text, re.MULTILINE):
        loaded = importlib.import_module(module)
        for name in names.split(","):
            assert hasattr(loaded, name.split()[0]), f"{module}.{name.strip()}"
    for path in re.findall(r"`(inpaint_hpc/[\w/.]+\.(?:py|yaml))`", text):
        assert (ROOT / path).exists(), path
