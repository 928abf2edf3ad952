"""What a wheel holds, installed into an environment of its own outside of the checkout.

Dependencies are borrowed from the environment of the tests, because torch alone takes gigabytes on some machines; with
INPAINT_HPC_BARE=1, as in CI, the environment gets them all from the package index, with the pins of constraints.txt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What git does not track stays behind: an old build folder would put modules into the wheel that are gone.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "inpaint_hpc")
ARCHIVE = ROOT / "tests" / "data" / "golden" / "archive-1.2.h5"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """Programs of an environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder / "dist", folder / "source", cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "bare", cwd=folder)
    python = folder / "bare" / "bin" / "python"
    install = (*pip, "--python", python, "install", "--constraint", ROOT / "constraints.txt")
    if os.environ.get("INPAINT_HPC_BARE"):
        run(*install, "torch", cwd=folder)  # first, so that it is the build that the constraints name
        run(*install, wheel, cwd=folder)
    else:
        run(*install, "--no-deps", wheel, cwd=folder)
        site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
        Path(site, "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def test_an_installed_wheel_has_all_it_needs(environment, tmp_path):
    where = run(environment / "python", "-c", "import inpaint_hpc; print(inpaint_hpc.__file__)", cwd=tmp_path)
    assert where.startswith(str(environment.parent))
    tool = environment / "inpaint-hpc"
    assert "everything needed is installed" in run(tool, "doctor", cwd=tmp_path)
    assert "small" in run(tool, "weights", "verify", cwd=tmp_path)
    run(tool, "init", "campaign.yaml", cwd=tmp_path)
    script = run(tool, "submit", "campaign.yaml", "--dry-run", "--profile", "generic", cwd=tmp_path)
    assert "#SBATCH --cpus-per-task=4" in script and str(environment / "python") in script
    assert "12 results" in run(tool, "report", ARCHIVE, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.yaml", "report.html"]
