"""Hosts of tests: those that come with the package, and one that does not."""

from itertools import product

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts

MNO2 = PACKAGE_FOLDER / "examples" / "mno2"
SPINEL = read_hosts([MNO2 / "lambda_mp-25275.cif"])[0]
# FeFe(CN)6, primitive: sodium on its 8c feels no force, and is 0.17 eV above the lowest minimum.
PRUSSIAN_BLUE = Crystal(
    [26, 26] + [6] * 6 + [7] * 6,
    [[0.0] * 3, [0.5] * 3, *(p for x in (0.189, 0.304) for p in product((x, 1 - x), repeat=3) if len(set(p)) == 2)],
    [[-5.07, -5.07, 0.0], [-5.07, 0.0, -5.07], [0.0, -5.07, -5.07]],
    "FeFeCN6",
)
