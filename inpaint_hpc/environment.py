"""What surrounds the package: the shell that started it, and the installed versions of what it needs."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from inpaint_hpc.errors import InputError

# Required distributions, as in pyproject.toml.
REQUIRED = (
    "ase",
    "chgnet",
    "click",
    "e3nn",
    "gemmi",
    "h5py",
    "jinja2",
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


_NO_HOME = "inpaint_hpc-no-home-"
_PR_SET_PDEATHSIG = 1


def available_cores() -> int:
    """Cores that this process may use; in a batch job, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_exists(pid: int) -> bool:
    """Whether this machine has a process of that number, this user's or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def end_with_parent(number: int) -> None:
    """Ask Linux to send this process a signal when the thread that started it ends; other systems do nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def settle_process() -> None:
    """Make this process, and those that it starts, independent of the shell; for entry points, not for the library.

    Raises:
        OSError: the user has no home folder, and the folder for temporary files cannot be written either.
    """
    os.environ.update(VARIABLES)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None without a console, and anything in a notebook
            stream.reconfigure(errors="backslashreplace")
    home = os.path.expanduser("~")
    if home == "~" or _is_stand_in(home):
        # ASE, and with it CHGNet, cannot be imported without a home.
        os.environ["HOME"] = str(_private_folder())
    elif not os.access(home, os.W_OK):
        # On compute nodes of some clusters it is read-only, and caches go there.
        for name, folder in (("TRITON_CACHE_DIR", "triton"), ("MPLCONFIGDIR", "matplotlib")):
            if name not in os.environ:
                os.environ[name] = str(_private_folder() / folder)


def user_path(path: str | Path) -> Path:
    """A path that a user wrote, with a leading `~` or `~USER` replaced by the home folder.

    Raises:
        InputError: that user has no home folder, as in containers without HOME and without an entry in passwd.
    """
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        found = None
    if found is None or (found != Path(path) and _is_stand_in(os.path.expanduser("~"))):
        raise InputError(f"{path}: the home folder is not known here; write the whole path")
    return found


def _is_stand_in(home: str) -> bool:
    return os.path.basename(home).startswith(_NO_HOME)


def _private_folder() -> Path:
    """A folder for caches which nobody else can write to: some hold code."""
    import tempfile

    folder = Path(tempfile.gettempdir(), f"{_NO_HOME}{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if private else Path(tempfile.mkdtemp(prefix=_NO_HOME))


def package_versions(names: tuple[str, ...] = REQUIRED) -> dict[str, str | None]:
    """Installed version of each distribution, None if it is missing."""
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions
