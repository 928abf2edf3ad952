"""Distributions that the package needs, and their installed versions."""

from __future__ import annotations

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


def package_versions(names: tuple[str, ...] = REQUIRED) -> dict[str, str | None]:
    """Installed version of each distribution, None if it is missing."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions
