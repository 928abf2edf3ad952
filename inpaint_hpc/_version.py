"""Version of the package and the folder it lies in; imports nothing, so that every module may import it."""

from pathlib import Path

__version__ = "0.1.0"

PACKAGE_FOLDER = Path(__file__).resolve().parent
