"""What surrounds the package: the shell that started it, and the installed versions of what it needs."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

# Required distributions, as in pyproject.toml.
REQUIRED = (
    "ase",
    "chgnet",
    "click",
    "e3nn",
    "gemmi",
    "h5py",
    "matplotlib",
    "numpy",
    "pandas",
    "psutil",
    "pydantic",
    "pymatgen",
    "pyyaml",
    "ray",
    "rich",
    "safetensors",
    "scipy",
    "spglib",
    "submitit",
    "torch",
)
# For export to Parquet.
OPTIONAL = ("pyarrow",)


# For all processes of the tool, whatever shell, notebook or job they come from.  None of them opens a window, and
# matplotlib, which CHGNet imports, refuses the backend of a notebook that is not installed here.  No output fails
# because a terminal or a log cannot show a letter.
VARIABLES = {"MPLBACKEND": "agg", "PYTHONIOENCODING": ":backslashreplace"}


def settle_process() -> None:
    """Make this process, and those that it starts, independent of the shell; for entry points, not for the library."""
    os.environ.update(VARIABLES)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None without a console, and anything in a notebook
            stream.reconfigure(errors="backslashreplace")


def package_versions(names: tuple[str, ...] = REQUIRED) -> dict[str, str | None]:
    """Installed version of each distribution, None if it is missing."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions
