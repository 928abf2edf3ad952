"""Hosts that come with the package."""

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.crystals.reading import read_hosts

MNO2 = PACKAGE_FOLDER / "examples" / "mno2"
SPINEL = read_hosts([MNO2 / "lambda_mp-25275.cif"])[0]
