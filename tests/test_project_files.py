"""Files for those who work on the project: what they name exists, and machines can read them."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from inpaint_hpc._version import __version__

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = {name for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def load(path: str | Path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def defined(path: Path) -> set[str]:
    """Functions, classes and constants of a module, without importing it."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_contributing_names_what_exists():
    """Paths with a slash, in text and in commands; of `PATH::NAME` also the name."""
    examples = {"x/y.py", "tests/x/test_y.py"}
    names = set(re.findall(r"`([\w.-]*/[\w/.:-]*)`|\]\(([^)#]+)|\b((?:tests|slurm|benchmarks)/[\w/.-]+)", CONTRIBUTING))
    names = {name for groups in names for name in groups if name} - examples
    for name in names:
        path, _, attribute = name.partition("::")
        assert (ROOT / path).exists(), name
        assert not attribute or attribute in defined(ROOT / path), name
    assert ".ci/run" in names and any("::" in name for name in names)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", ".github/pull_request_template.md"])
def test_pages_name_targets_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    assert named and named <= TARGETS


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_modules_that_contributing_runs_exist():
    for module in re.findall(r"python -m (inpaint_hpc[\w.]*)", CONTRIBUTING):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module


def test_make_help_has_a_line_for_every_target():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = re.findall(r"^  make ([a-z-]+)  *\S", done.stdout, re.MULTILINE)
    assert sorted(lines) == sorted(TARGETS)


def test_citation_and_changelog_are_of_this_version():
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["version"] == __version__
    assert {"message", "title", "authors"} <= citation.keys()
    assert len(citation["references"][0]["authors"]) == 5
    newest = re.search(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None and newest[1] == __version__


def test_the_workflow_runs_ci_on_each_python():
    (job,) = load(".github/workflows/ci.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1]["run"] == ".ci/run"


@pytest.mark.parametrize("form", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.stem)
def test_forms_can_be_filled_in(form):
    content = load(form)
    assert {"name", "description", "body"} <= content.keys()
    fields = [one for one in content["body"] if one["type"] != "markdown"]
    assert {one["type"] for one in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert len({one["id"] for one in fields}) == len(fields) and all(one["attributes"]["label"] for one in fields)
    assert "inpaint-hpc doctor" in str(content)


def test_hooks_are_the_checks_of_make_lint():
    (local,) = load(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in local["hooks"]]
    recipe = MAKEFILE.partition("\nlint: venv\n")[2].partition("\n\n")[0]
    checks = re.findall(r"\$\(BIN\)/(ruff \w+|\w+)", recipe)
    assert "codespell" in checks
    for check in checks:
        assert any(entry.startswith(check) for entry in hooks), check
