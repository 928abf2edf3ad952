"""Imports go one way: no circles, and no folder imports from one that stands above it (docs/layout.md)."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "inpaint_hpc"
# From the top down; a folder may import from those below it.  Modules of the package itself lie below them all.
FLOORS = (
    *("cli", "report", "benchmark", "analysis", "planning", "cluster", "campaign", "pipeline", "archive", "orderings"),
    *("sites", "training", "scoring", "sampling", "network", "crystals", "kernels"),
)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def imported(name: str, path: Path, source: str) -> set[str]:
    """Modules of the package that a module imports, wherever in it: also for type checkers, and in functions."""
    folder = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(folder.split(".")[: len(folder.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {one for one in names if one in MODULES and one not in (name, PACKAGE)}
    return found


def floor(name: str) -> int:
    """Number of the floor, 0 at the top; the package itself, which hands names out lazily, stands above all."""
    parts = name.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return -1
    return FLOORS.index(parts[1]) if parts[1] in FLOORS else len(FLOORS)


IMPORTS = {name: imported(name, path, path.read_text()) for name, path in MODULES.items()}


def test_no_module_imports_itself_in_a_circle():
    tuple(graphlib.TopologicalSorter(IMPORTS).static_order())  # CycleError names the circle


def test_no_import_leads_up():
    up = [f"{name} imports {other}" for name, all_ in IMPORTS.items() for other in all_ if floor(other) < floor(name)]
    assert up == []


def test_every_folder_has_a_floor():
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if (path / "__init__.py").exists()}
    assert folders == set(FLOORS)
    page = (ROOT / "docs" / "layout.md").read_text()
    assert tuple(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == FLOORS


@pytest.mark.parametrize(
    "line",
    ["from inpaint_hpc.cli import run", "from ..cli.run import run", "def f():\n    import inpaint_hpc.cli.run"],
)
def test_an_import_is_seen_however_it_is_written(line):
    name = "inpaint_hpc.crystals.batch"
    assert "inpaint_hpc.cli.run" in imported(name, MODULES[name], line)


def test_names_of_test_files_are_unique():
    """pytest imports them without their folders: of two with one name it can only collect one."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_files_are_short():
    """One that has grown longer holds more than one thing."""
    files = [path for folder in (PACKAGE, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    long = {path.name: lines for path in files if (lines := path.read_text(encoding="utf-8").count("\n")) > 400}
    assert files and not long
